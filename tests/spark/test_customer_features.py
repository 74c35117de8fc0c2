"""Customers as models see them, from rows of silver.events."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from lakehouse.tables import SILVER_EVENTS
from ml.lifetime_value.features import customers, orders_of
from ml.lifetime_value.training import holdout_of, summary_of
from tests.lifetime_by_hand import Laws, holdout_at, store_of, summary_at
from tests.silver_of_store import at, silver_events

CUT_OFF, HORIZON = 60.0, timedelta(days=30)


def found(spark: SparkSession, *rows: tuple[Any, ...]) -> pd.DataFrame:
    """In: (event_type, day, price, user_id, user_session)."""
    names = ("event_type", "day", "price", "user_id", "user_session")
    frame = spark.createDataFrame(
        list(rows), "event_type string, day double, price double, user_id long, user_session string"
    )
    frame = frame.withColumn(
        "event_at", F.timestamp_micros((F.col("day") * 86_400_000_000).cast("long") + F.unix_micros(F.lit(at(0))))
    )
    events = frame.select(
        *(F.col(name).cast(SILVER_EVENTS.schema[name].dataType) for name in (*names[:1], "event_at", *names[2:]))
    )
    return customers(orders_of(events), at(CUT_OFF), HORIZON).orderBy("user_id").toPandas().set_index("user_id")


def test_they_equal_a_calculation_with_numpy(spark: SparkSession) -> None:
    store = store_of(Laws(), 800, (0.0, CUT_OFF - 1), 200.0, seed=5)
    rows = (
        customers(orders_of(silver_events(spark, store, 0.0, 200.0)), at(CUT_OFF), HORIZON)
        .orderBy("user_id")
        .toPandas()
    )
    summary, holdout = summary_of(rows), holdout_of(rows)
    expected, came = summary_at(store, CUT_OFF), holdout_at(store, CUT_OFF, HORIZON.days)
    assert list(summary.frequency) == list(expected.frequency)
    assert abs(summary.recency - expected.recency).max() < 1e-9
    assert abs(summary.age - expected.age).max() < 1e-9
    repeats = summary.frequency > 0
    assert summary.monetary_value is not None and expected.monetary_value is not None
    assert abs(summary.monetary_value - expected.monetary_value)[repeats].max() < 0.011  # cents
    assert list(holdout.purchases) == list(came.purchases)
    assert list(holdout.recent_purchases) == list(came.recent_purchases)
    assert abs(holdout.value - came.value).max() < 0.1
    assert summary.repeat_buyers > 50


def test_an_order_is_the_purchases_of_a_session_at_a_moment(spark: SparkSession) -> None:
    row = found(
        spark,
        ("purchase", 1.0, 5.00, 1, "a"),
        ("purchase", 1.0, 2.50, 1, "a"),
        ("purchase", 1.0, 1.00, 1, None),
        ("view", 3.0, 9.00, 1, "a"),
        ("purchase", 4.0, -5.00, 1, "a"),
        ("purchase", 5.0, 0.00, 1, "a"),
        ("purchase", 11.0, 4.00, 1, "b"),
    ).loc[1]
    assert (row["frequency"], row["recency_days"], row["age_days"]) == (2, 10.0, 59.0)
    assert row["monetary_value"] == 2.5  # (1.00 + 4.00) / 2: the dearer of the two at one moment was the first
    assert row["cohort"] == "2019-10"


def test_what_comes_after_the_cut_off_is_not_known_before_it(spark: SparkSession) -> None:
    rows = found(
        spark,
        ("purchase", 40.0, 3.00, 1, "a"),
        ("purchase", 60.0, 7.00, 1, "b"),  # the moment itself is after
        ("purchase", 89.0, 1.00, 1, "c"),
        ("purchase", 90.0, 1.00, 1, "d"),
        ("purchase", 61.0, 2.00, 2, "e"),
    )
    assert list(rows.index) == [1]
    row = rows.loc[1]
    assert (row["frequency"], row["recency_days"], row["recent_orders"], row["recent_value"]) == (0, 0.0, 1, 3.0)
    assert math.isnan(row["monetary_value"])
    assert (row["holdout_orders"], row["holdout_value"]) == (2, 8.0)


def test_without_orders_there_are_no_customers(spark: SparkSession) -> None:
    assert found(spark, ("view", 1.0, 5.00, 1, "a"), ("purchase", 2.0, -1.00, 1, "a")).empty
