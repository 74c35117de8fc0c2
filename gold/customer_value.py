"""What each customer has bought so far: facts only. What ages by itself is computed from the store clock in views."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.schemas import AMOUNT
from lakehouse.tables import GOLD_CUSTOMER_VALUE

_SUMS = ("orders", "units", "revenue", "refund_units", "refunds")
_MONEY = ("revenue", "refunds")


def spendings(orders: DataFrame) -> DataFrame:
    """In: rows of gold.orders. Out: what each adds to its customer; nothing of an order without a sale or a refund."""
    is_sale = F.col("units") > 0
    return orders.where(is_sale | (F.col("refund_units") > 0)).select(
        "user_id",
        is_sale.cast("bigint").alias("orders"),
        "units",
        "revenue",
        "refund_units",
        F.col("refund_amount").alias("refunds"),
        F.when(is_sale, F.col("ordered_at")).alias("first_purchase_at"),
        F.when(is_sale, F.col("ordered_at")).alias("last_purchase_at"),
    )


def taken_back(spent: DataFrame) -> DataFrame:
    """In: spendings of orders as they were. Out: what takes them off, so that they can be added as they are now.

    An order only grows, so that its time stays its customer's.
    """
    nothing = F.lit(None).cast("timestamp")
    return spent.withColumns({name: -F.col(name) for name in _SUMS}).withColumns(
        {"first_purchase_at": nothing, "last_purchase_at": nothing}
    )


def spendings_of(customers: DataFrame) -> DataFrame:
    """In: rows of gold.customer_value. Out: the spendings that they sum up."""
    return customers.select(*GOLD_CUSTOMER_VALUE.facts)


def customer_value(spent: DataFrame) -> DataFrame:
    """In: spendings; each order's once, or as often taken back as it is there more than once. Out: one row per customer
    with a sale or a refund, the facts of gold.customer_value.
    """
    sums = [F.sum(name).cast(AMOUNT if name in _MONEY else "bigint").alias(name) for name in _SUMS]
    first, last = F.min("first_purchase_at"), F.max("last_purchase_at")
    return (
        spent.groupBy("user_id")
        .agg(*sums, first.alias("first_purchase_at"), last.alias("last_purchase_at"))
        .select(*GOLD_CUSTOMER_VALUE.facts)
    )
