"""Products as their newest event shows them."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.tables import GOLD_PRODUCTS

_SHOWN = ("category_id", "category_code", "brand", "price")


def sightings(events: DataFrame) -> DataFrame:
    """In: rows of silver.events. Out: what each shows of its product."""
    seen = {"last_event_at": F.col("event_at"), "last_event_id": F.col("event_id")}
    return events.withColumns(seen).select(*GOLD_PRODUCTS.facts)


def sightings_of(products: DataFrame) -> DataFrame:
    """In: rows of gold.products. Out: the sighting that each row shows."""
    return products.select(*GOLD_PRODUCTS.facts)


def products(seen: DataFrame) -> DataFrame:
    """In: sightings. Out: one row per product, the facts of gold.products, from the newest sighting by
    (event_at, event_id).
    """
    newest = F.max_by(F.struct(*_SHOWN), F.struct("last_event_at", "last_event_id"))
    moment = F.max(F.struct("last_event_at", "last_event_id"))
    return (
        seen.groupBy("product_id")
        .agg(newest.alias("shown"), moment.alias("moment"))
        .select("product_id", "shown.*", "moment.*")
        .select(*GOLD_PRODUCTS.facts)
    )
