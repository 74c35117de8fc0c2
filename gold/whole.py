"""All of gold.product_sales at once, from all of silver.events: for a rebuild."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from gold.aggregate import REVISIONS_PER_GENERATION, Key, Row
from gold.product_sales import product_sales
from lakehouse.handover import is_purchase
from lakehouse.schemas import GOLD_PRODUCT_SALES
from lakehouse.tables import GOLD_PRODUCT_SALES as TABLE


def whole_sales(events: DataFrame, window_s: int, generation: int, now: datetime) -> DataFrame:
    """In: all of silver.events. Out: all rows of gold.product_sales, in the first revision of a generation."""
    facts = product_sales(events.where(is_purchase()), window_s)
    made = {"revision": F.lit(first_revision(generation)).cast("bigint"), "updated_at": F.lit(now)}
    return facts.withColumns(made).select(*GOLD_PRODUCT_SALES.fieldNames())


def first_revision(generation: int) -> int:
    """Above all revisions of the generations before, and below those that a running writer makes."""
    return generation * REVISIONS_PER_GENERATION


def keys_gone(old_rows: DataFrame, old_events: DataFrame, window_s: int, new_rows: DataFrame) -> DataFrame:
    """The keys that may have been published and have no row any more.

    In: gold.product_sales and silver.events as they were, for gold publishes before its table is written; and
    gold.product_sales as it is to be. Out: one row per key.
    """
    published = product_sales(old_events.where(is_purchase()), window_s).select(*TABLE.keys)
    return old_rows.select(*TABLE.keys).union(published).distinct().join(new_rows, list(TABLE.keys), how="left_anti")


def in_lots(rows: DataFrame, size: int) -> Iterator[list[Row]]:
    """The rows as values, so many at a time. All are held in memory as Arrow has them: about 100 bytes a row."""
    for lot in rows.toArrow().to_batches(max_chunksize=size):
        yield lot.to_pylist()


def keys_of(rows: list[Row]) -> list[Key]:
    return [(row["window_start_at"], row["product_id"]) for row in rows]
