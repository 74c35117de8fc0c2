"""Sessions and carts are defined twice, since models need them at a moment: by rules in Python, by windows in Spark."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.event_contract import EVENT_TYPES, PURCHASE
from lakehouse.session_key import session_key_column
from lakehouse.settings import Settings
from ml.purchase_intent.events import CART, REMOVE, CartRules, told
from ml.purchase_intent.session_features import with_cart, with_visit
from silver.sessions import sessions

COLUMNS = """event_id string, event_at timestamp, event_type string, product_id bigint, category_id bigint,
    brand string, price decimal(10,2), user_id bigint, user_session string"""
GAP_S = Settings().session_gap_s
START = datetime(2019, 10, 1, tzinfo=UTC)


def random_events(spark: SparkSession, seed: int, count: int) -> DataFrame:
    """Few users and products; half without a session id; many at one moment, or apart by the gap to the second."""
    draw = random.Random(seed)

    def one(number: int) -> tuple[Any, ...]:
        kind = draw.choice(EVENT_TYPES)
        at = START + timedelta(seconds=draw.randrange(200) * GAP_S / 2 - draw.choice([0, 0, 1]))
        price = Decimal(draw.choice(["2.62", "0.00"] + ["-1.50"] * (kind == PURCHASE)))
        session_id = draw.choice([None, None, "s", "t"])
        product, user = draw.randint(1, 3), draw.randint(1, 4)
        return f"{draw.random()}-{number}", at, kind, product, 1, "b", price, user, session_id

    return spark.createDataFrame([one(number) for number in range(count)], COLUMNS)


Facts = tuple[int, int, int, dict[int, int]]
"""Of a session: its events, carts and removes, and what its cart holds in the end, by product."""


def by_windows(events: DataFrame) -> dict[str, Facts]:
    rows = with_cart(with_visit(told(events), CartRules(gap_s=GAP_S)))
    session = ("user_id", "user_session", "visit")
    by_product = rows.groupBy(*session, "product_id").agg(
        F.count("*").alias("events"),
        F.count_if(F.col("rank") == CART).alias("carts"),
        F.count_if(F.col("rank") == REMOVE).alias("removes"),
        F.sum("change").alias("quantity"),
        F.min("at_us").alias("first_us"),
    )
    by_session = by_product.groupBy(*session).agg(
        *(F.sum(name).alias(name) for name in ("events", "carts", "removes")),
        F.collect_list(F.struct("product_id", "quantity")).alias("cart"),
        F.min("first_us").alias("started_us"),
    )
    return facts(by_session.withColumn("session_key", session_key_column(F.col("started_us"))))


def by_rules(events: DataFrame) -> dict[str, Facts]:
    return facts(sessions(events, Settings()))


def facts(rows: DataFrame) -> dict[str, Facts]:
    return {
        key: (*counts, {item.product_id: item.quantity for item in cart if item.quantity})
        for key, *counts, cart in rows.select("session_key", "events", "carts", "removes", "cart").collect()
    }


def test_windows_and_rules_find_the_same_sessions_and_carts(spark: SparkSession) -> None:
    events = random_events(spark, 1, 300).cache()
    found = by_windows(events)
    assert found == by_rules(events)
    assert len(found) > 60 and sum(bool(cart) for *_, cart in found.values()) > 20
    events.unpersist()
