"""The rows that silver hands on to gold: new purchases, as values in the driver.

A purchase is small and rare (one event in sixteen), and what gold does with it must not wait for a table to be written.
"""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from lakehouse.event_contract import PURCHASE


class Purchase(NamedTuple):
    """One row of silver.events that counts as a sale or a refund.

    :param event_at_us: microseconds since 1970, UTC.
    :param price: money as text with two decimals (USD), never zero.
    :param kafka_at_us: when Kafka had it, microseconds since 1970, UTC.
    """

    event_id: str
    event_at_us: int
    product_id: int
    price: str
    user_id: int
    kafka_at_us: int


def is_purchase() -> Column:
    """Purchases count when they have a price: above zero as a sale, below as a refund."""
    return (F.col("event_type") == PURCHASE) & (F.col("price") != 0)


def purchase_columns() -> list[Column]:
    """A purchase's columns, in order, from those of silver.events."""
    return [
        F.col("event_id"),
        F.unix_micros("event_at").alias("event_at_us"),
        F.col("product_id"),
        F.col("price").cast("string").alias("price"),
        F.col("user_id"),
        F.unix_micros("kafka_at").alias("kafka_at_us"),
    ]


def purchases_in(events: DataFrame) -> list[Purchase]:
    """In: rows of silver.events. Out: those that count as sales or refunds, as values."""
    return as_purchases(events.where(is_purchase()).select(*purchase_columns()).toArrow())


def as_purchases(table: pa.Table) -> list[Purchase]:
    """In: purchase columns. Out: a value per row."""
    return [Purchase(*row) for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]
