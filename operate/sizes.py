"""What makes each round slower the more there is of it: products, brands, days of events."""

from __future__ import annotations

from lakehouse.errors import TableError
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_EVENTS
from operate.lake import open_table, query

_WHAT = {
    "products": "products in gold.products, which is written whole in each round",
    "brands": "brands in gold.products, each of which has a row a day in gold.funnel",
    "event_days": "days of events in silver.events, each of which is a folder",
}


def sizes(settings: Settings) -> dict[str, int]:
    """`products`, `brands` and `event_days` -> how many there are; those alone whose tables are there."""
    found = {}
    try:
        found["event_days"] = len(open_table(SILVER_EVENTS, settings).partitions())
        counts = "SELECT count(*), count(DISTINCT brand) FROM gold.products"
        ((found["products"], found["brands"]),) = query(counts, settings).fetchall()
    except TableError:
        pass
    return found


def too_many(found: dict[str, int], settings: Settings) -> list[str]:
    """In: `sizes`. Out: a sentence for each that is more than the setting most_expected says."""
    return [
        f"{found[name]:,} {_WHAT[name]}; at most {limit:,} are expected. "
        "See where they come from; if the store is so large, raise LAKEHOUSE_MOST_EXPECTED"
        for name, limit in settings.limits.items()
        if found.get(name, 0) > limit
    ]
