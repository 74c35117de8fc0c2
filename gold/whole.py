"""All of gold at once, from all of silver.events: for a rebuild."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from gold.product_sales import product_sales
from gold.topics import Key, Row, key_of
from lakehouse.handover import is_purchase
from lakehouse.tables import GOLD_PRODUCT_SALES, Table

REVISIONS_PER_GENERATION = 2**32


def whole_sales(events: DataFrame, window_s: int) -> DataFrame:
    """In: all of silver.events. Out: all facts of gold.product_sales."""
    return product_sales(events.where(is_purchase()), window_s)


def in_revision(facts: DataFrame, table: Table, revision: int, now: datetime) -> DataFrame:
    """In: facts of a table. Out: its rows, all in this revision."""
    made = {"revision": F.lit(revision).cast("bigint"), "updated_at": F.lit(now)}
    kinds = [F.col(name).cast(table.schema[name].dataType).alias(name) for name in table.facts]
    return facts.select(*kinds).withColumns(made).select(*table.schema.fieldNames())


def first_revision(generation: int) -> int:
    """Of gold.product_sales: above all revisions of the generations before, and below those that a running writer
    makes.
    """
    return generation * REVISIONS_PER_GENERATION


def sales_gone(old_rows: DataFrame, old_events: DataFrame, window_s: int, new_rows: DataFrame) -> DataFrame:
    """The keys of gold.product_sales that may have been published and have no row any more.

    In: gold.product_sales and silver.events as they were, for gold publishes before its table is written; and
    gold.product_sales as it is to be. Out: one row per key.
    """
    keys = GOLD_PRODUCT_SALES.keys
    published = whole_sales(old_events, window_s).select(*keys)
    return keys_gone(old_rows.select(*keys).union(published), new_rows, GOLD_PRODUCT_SALES)


def keys_gone(old_rows: DataFrame, new_rows: DataFrame, table: Table) -> DataFrame:
    """In: rows of a table, or their keys, as they were and as they are to be. Out: one row per key that is gone."""
    keys = list(table.keys)
    return old_rows.select(*keys).distinct().join(new_rows, keys, how="left_anti")


def in_lots(rows: DataFrame, size: int) -> Iterator[list[Row]]:
    """The rows as values, so many at a time. All are held in memory as Arrow has them: about 100 bytes a row."""
    for lot in rows.toArrow().to_batches(max_chunksize=size):
        yield lot.to_pylist()


def keys_of(rows: list[Row], table: Table) -> list[Key]:
    return [key_of(row, table) for row in rows]
