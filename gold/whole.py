"""All of gold at once, from all of silver.events: for a rebuild."""

from __future__ import annotations

from pyspark.sql import DataFrame

from gold.product_sales import product_sales
from lakehouse.handover import is_purchase
from lakehouse.revisions import keys_gone
from lakehouse.tables import GOLD_PRODUCT_SALES

REVISIONS_PER_GENERATION = 2**32


def whole_sales(events: DataFrame, window_s: int) -> DataFrame:
    """In: all of silver.events. Out: all facts of gold.product_sales."""
    return product_sales(events.where(is_purchase()), window_s)


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
