"""The list of all tables, and where each one is."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field

from pyspark.sql.types import StructType

from lakehouse import schemas
from lakehouse.errors import TableError
from lakehouse.settings import Settings


@dataclass(frozen=True)
class Table:
    """What a table is.

    :param name: `layer.noun`.
    :param schema: its columns.
    :param grain: what one row stands for.
    :param keys: the columns that tell rows apart.
    :param partition_by: the columns that choose the folder of a row.
    :param skipping: the columns whose range is kept for each file, so that look-ups open few files.
    """

    name: str
    schema: StructType = field(compare=False)
    grain: str
    keys: tuple[str, ...]
    partition_by: tuple[str, ...] = ()
    skipping: tuple[str, ...] = ()

    @property
    def layer(self) -> str:
        return self.name.split(".")[0]

    def path(self, settings: Settings) -> str:
        return f"{settings.lake_url}/{self.name.replace('.', '/')}"


_PLACE = ("topic", "partition", "offset")

BRONZE_EVENTS = Table(
    "bronze.events", schemas.BRONZE_EVENTS, "Kafka record", _PLACE, ("ingested_on",), skipping=("offset",)
)
SILVER_EVENTS = Table(
    "silver.events",
    schemas.SILVER_EVENTS,
    "distinct event",
    ("event_id",),
    ("event_on",),
    skipping=("event_at", "content_id"),
)
SILVER_DUPLICATES = Table("silver.duplicates", schemas.SILVER_DUPLICATES, "dropped copy", _PLACE, skipping=("offset",))
SILVER_QUARANTINE = Table(
    "silver.quarantine", schemas.SILVER_QUARANTINE, "refused record", _PLACE, skipping=("offset",)
)
SILVER_QUALITY_LOG = Table(
    "silver.quality_log", schemas.SILVER_QUALITY_LOG, "batch of silver", ("silver_version",), skipping=("processed_at",)
)
GOLD_PRODUCT_SALES = Table(
    "gold.product_sales",
    schemas.GOLD_PRODUCT_SALES,
    "product and window",
    ("window_start_at", "product_id"),
    ("window_start_on",),
    skipping=("window_start_at",),
)

TABLES = (BRONZE_EVENTS, SILVER_EVENTS, SILVER_DUPLICATES, SILVER_QUARANTINE, SILVER_QUALITY_LOG, GOLD_PRODUCT_SALES)


def find_table(name: str) -> Table:
    """The table of this name.

    :raises TableError: no such table; the nearest name is given.
    """
    by_name = {table.name: table for table in TABLES}
    if name in by_name:
        return by_name[name]
    nearest = difflib.get_close_matches(name, by_name, n=1, cutoff=0.0)[0]
    raise TableError(f"There is no table {name!r}.", f"one of {', '.join(by_name)}", f"did you mean {nearest}?")
