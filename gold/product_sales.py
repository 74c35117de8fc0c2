"""Sales per product and window."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from lakehouse.schemas import AMOUNT
from lakehouse.tables import GOLD_PRODUCT_SALES


def product_sales(purchases: DataFrame, window_s: int) -> DataFrame:
    """Sales and refunds per product and window.

    In: *all* purchases of every window that is to be computed: event_at UTC, product_id, user_id, price
    decimal(10,2) USD, none zero (`lakehouse.handover.is_purchase`).
    Out: one row per (window_start_at, product_id), the facts of gold.product_sales. A refund is a price below zero; it
    counts in no sale and has columns of its own.
    """
    is_sale = F.col("price") > 0
    start = F.timestamp_seconds(F.unix_seconds("event_at") - F.pmod(F.unix_seconds("event_at"), F.lit(window_s)))
    return (
        purchases.groupBy(start.alias("window_start_at"), "product_id")
        .agg(
            F.count_if(is_sale).alias("units"),
            _total(F.when(is_sale, F.col("price"))).alias("revenue"),
            F.count_distinct(F.when(is_sale, F.col("user_id"))).alias("buyers"),
            F.count_if(~is_sale).alias("refund_units"),
            _total(F.when(~is_sale, -F.col("price"))).alias("refund_amount"),
            F.max("event_at").alias("last_purchase_at"),
        )
        .withColumns(
            {
                "window_end_at": F.timestamp_seconds(F.unix_seconds("window_start_at") + window_s),
                "window_start_on": F.to_date("window_start_at"),
            }
        )
        .select(*GOLD_PRODUCT_SALES.facts)
    )


def count_and_total(is_counted: Column, amount: Column) -> tuple[Column, Column]:
    """How many rows of a group count, and the sum of an amount over them (decimal(20,2); 0 of none)."""
    return F.count_if(is_counted), _total(F.when(is_counted, amount))


def _total(amount: Column) -> Column:
    return F.coalesce(F.sum(amount), F.lit(0)).cast(AMOUNT)
