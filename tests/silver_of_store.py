"""silver.events of a store whose laws are known: each order one purchase, in sessions of their own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.tables import SILVER_EVENTS
from lakehouse.values import frame_of_table
from tests.lifetime_by_hand import Store

BEGINS_AT = datetime(2019, 10, 1, tzinfo=UTC)


def at(day: float) -> datetime:
    return BEGINS_AT + timedelta(days=day)


def silver_events(spark: SparkSession, store: Store, since: float, until: float) -> DataFrame:
    """Rows of silver.events: the orders from one day on to another. What costs less than a cent costs one."""
    chosen = np.flatnonzero((store.day >= since) & (store.day < until))
    orders = pa.table(
        {
            "event_id": [f"{number:032x}" for number in chosen],
            "at_us": (store.day[chosen] * 86_400_000_000).astype(np.int64),
            "user_id": store.customer[chosen],
            "cents": np.maximum(np.round(store.worth[chosen] * 100), 1).astype(np.int64),
        }
    )
    rows = frame_of_table(spark, orders).withColumns(
        {
            "event_type": F.lit("purchase"),
            "product_id": F.lit(7),
            "user_session": F.col("event_id"),
        }
    )
    return as_silver(rows)


def as_silver(rows: DataFrame) -> DataFrame:
    """In: some columns of silver.events, but `at_us` since BEGINS_AT for the time, and `cents` for the price. Out: all
    columns, null where nothing was given.
    """
    rows = rows.withColumns(
        {
            "event_at": F.timestamp_micros(F.unix_micros(F.lit(BEGINS_AT)) + F.col("at_us")),
            "price": F.col("cents").cast("decimal(12,0)") / 100,
        }
    ).withColumn("event_on", F.to_date("event_at"))
    return rows.select(
        *(
            (F.col(each.name) if each.name in rows.columns else F.lit(None)).cast(each.dataType).alias(each.name)
            for each in SILVER_EVENTS.schema.fields
        )
    )
