"""What customers have bought, as models of lifetime value take it. A purchase is an order."""

from __future__ import annotations

from datetime import datetime, timedelta

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from lakehouse.event_contract import PURCHASE

_DAY_US = 86_400_000_000

SUMMARY = ("frequency", "recency_days", "age_days", "monetary_value")
HOLDOUT = ("holdout_orders", "holdout_value", "recent_orders", "recent_value", "cohort")


def orders_of(events: DataFrame) -> DataFrame:
    """In: rows of silver.events. Out: one row per order: `user_id`, `ordered_at`, and `value`, what its purchases cost
    together. Refunds, and what costs nothing, are left out.
    """
    sales = events.where((F.col("event_type") == PURCHASE) & (F.col("price") > 0))
    by_order = sales.groupBy("user_id", "user_session", F.col("event_at").alias("ordered_at"))
    return by_order.agg(F.sum("price").alias("value")).select("user_id", "ordered_at", "value")


def customers(orders: DataFrame, cut_off_at: datetime, horizon: timedelta) -> DataFrame:
    """In: rows of `orders_of`. Out: one row per customer who had ordered before the cut-off: `user_id`; SUMMARY of the
    time before it, in days (fractions count) and money; HOLDOUT, what came in the horizon after it, and in a time as
    long before it. `monetary_value` is the mean of the repeat orders, null without one.
    """
    at, cut_off = F.unix_micros("ordered_at"), F.lit(cut_off_at)
    is_before = F.col("ordered_at") < cut_off
    is_after = ~is_before & (F.col("ordered_at") < F.lit(cut_off_at + horizon))
    is_recent = is_before & (F.col("ordered_at") >= F.lit(cut_off_at - horizon))
    value = F.col("value").cast("double")

    def counted(which: Column) -> Column:
        return F.count_if(which)

    def summed(which: Column) -> Column:
        return F.coalesce(F.sum(F.when(which, value)), F.lit(0.0))

    first_us, last_us = F.min(F.when(is_before, at)), F.max(F.when(is_before, at))
    # Of orders at one moment, in two sessions, the first is the dearer: which one it is must not be chance.
    first_value = F.max_by(value, F.struct(-at, value))
    per_customer = orders.groupBy("user_id").agg(
        counted(is_before).alias("orders"),
        first_us.alias("first_us"),
        last_us.alias("last_us"),
        summed(is_before).alias("value"),
        first_value.alias("first_value"),
        counted(is_after).alias("holdout_orders"),
        summed(is_after).alias("holdout_value"),
        counted(is_recent).alias("recent_orders"),
        summed(is_recent).alias("recent_value"),
    )
    frequency = F.col("orders") - 1
    columns = {
        "frequency": frequency,
        "recency_days": (F.col("last_us") - F.col("first_us")) / _DAY_US,
        "age_days": (F.unix_micros(cut_off) - F.col("first_us")) / _DAY_US,
        "monetary_value": F.when(frequency > 0, (F.col("value") - F.col("first_value")) / frequency),
        "cohort": F.date_format(F.timestamp_micros("first_us"), "yyyy-MM"),
    }
    return per_customer.where("orders > 0").withColumns(columns).select("user_id", *SUMMARY, *HOLDOUT)
