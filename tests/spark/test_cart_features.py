"""Open carts from events: when they open, what is known then, what became of them; and that nothing later is known."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import (
    DecimalType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from ml.purchase_intent.columns import CATEGORIES, FEATURES, KEYS, NUMBERS, OUTCOME
from ml.purchase_intent.events import CartRules
from ml.purchase_intent.features import open_carts
from ml.purchase_intent.leakage import LeakError, assert_point_in_time, point_in_time_violations
from ml.purchase_intent.product_facts import facts_since, product_facts
from ml.purchase_intent.user_history import events_since, past_of
from tests.carts_by_hand import KINDS, CartEvent, carts_by_hand

NOON = datetime(2019, 10, 1, 12, tzinfo=UTC)
UNTIL = NOON + timedelta(days=30)
RULES = CartRules()
EVENTS = StructType(
    [
        StructField("event_id", StringType()),
        StructField("event_at", TimestampType()),
        StructField("event_type", StringType()),
        StructField("product_id", LongType()),
        StructField("category_id", LongType()),
        StructField("price", DecimalType(10, 2)),
        StructField("user_id", LongType()),
        StructField("user_session", StringType()),
    ]
)


def happens(
    event_id: str,
    kind: str,
    seconds: float,
    *,
    product: int = 1,
    user: int = 1,
    session: str | None = "s",
    price: str = "2.00",
) -> CartEvent:
    at = NOON + timedelta(seconds=seconds)
    return CartEvent(event_id, at, kind, product, 10, Decimal(price), user, session)


def some(seed: int, count: int) -> list[CartEvent]:
    """Few users, products and moments of a week: ties, sessions that meet again, prices that say nothing."""
    draw = random.Random(seed)

    def one(number: int) -> CartEvent:
        kind = draw.choice([*KINDS, "cart", "purchase"])
        product = draw.randint(1, 6)
        price = draw.choice(["2.62", "1.10", "7.50", "0.00"] + ["-1.50"] * (kind == "purchase"))
        at = NOON + timedelta(days=draw.randint(0, 6), minutes=20 * draw.randint(0, 12), seconds=draw.randint(0, 2))
        category = None if product == 6 else product // 2
        session = draw.choice([None, "s1", "s2"])
        return CartEvent(f"{number:05}", at, kind, product, category, Decimal(price), draw.randint(1, 30), session)

    return [one(number) for number in range(count)]


def frame(spark: SparkSession, events: list[CartEvent]) -> DataFrame:
    return spark.createDataFrame(events, EVENTS)


def carts_of(events: DataFrame, until: datetime = UNTIL, since_at: datetime | None = None) -> DataFrame:
    return open_carts(events, product_facts(events, RULES, until), RULES, until, since_at)


def by_id(carts: pd.DataFrame) -> pd.DataFrame:
    return carts.sort_values("event_id").reset_index(drop=True)


@pytest.fixture(scope="module")
def store(spark: SparkSession) -> tuple[list[CartEvent], DataFrame, pd.DataFrame]:
    """Events, and their carts: without a zone, as Spark gives them, and by event_id."""
    events = some(seed=1, count=500)
    silver = frame(spark, events).cache()
    return events, silver, carts_of(silver, max(e.event_at for e in events)).toPandas()


def test_all_columns_of_many_carts_are_as_calculated_by_hand(
    store: tuple[list[CartEvent], DataFrame, pd.DataFrame],
) -> None:
    events, _, carts = store
    until = max(e.event_at for e in events)
    expected = carts_by_hand(events, until, RULES.gap_s, RULES.horizon_s, RULES.prior_carts)
    assert sorted(carts["event_id"]) == sorted(expected) and len(carts) > 100
    for row in carts.astype(object).to_dict("records"):
        for name, value in expected[row["event_id"]].items():
            found = None if pd.isna(row[name]) else row[name]
            if isinstance(value, datetime):
                assert found == value.replace(tzinfo=None), name
            else:
                assert found == (pytest.approx(value, abs=2e-6) if isinstance(value, float) else value), name
    # The cases that matter are among them.
    assert set(carts["bought"]) == {True, False, None}
    assert carts[["last_order_days", "product_rate", "log_price_to_product"]].isna().any().all()
    assert (carts[["user_orders", "product_carts", "user_product_units"]] > 0).any().all()


def test_carts_since_a_time_are_those_of_all_carts(store: tuple[list[CartEvent], DataFrame, pd.DataFrame]) -> None:
    events, silver, carts = store
    since_at = NOON + timedelta(days=5)
    found = carts_of(silver, max(e.event_at for e in events), since_at).toPandas()
    newest = carts[carts["cut_off_at"] >= since_at.replace(tzinfo=None)]
    assert len(newest) > 10
    pd.testing.assert_frame_equal(by_id(found), by_id(newest))


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("days", [1, 4])
def test_carts_are_the_same_when_what_was_before_a_midnight_is_added_up(spark: SparkSession, days: int) -> None:
    """Sessions of some() come again on any day, so most lie across each midnight; users without one are among them."""
    until = NOON + timedelta(days=7)
    midnight = until.replace(hour=0) - timedelta(days=days)
    happened = some(seed=2, count=800)
    random.Random(days).shuffle(happened)
    silver = frame(spark, happened).withColumn("event_on", F.to_date("event_at")).cache()
    facts = product_facts(silver, RULES, until).cache()
    wanted = spark.createDataFrame([(user,) for user in range(1, 21)], "user_id bigint")
    past = past_of(silver, RULES, midnight).persist()
    since = events_since(silver, wanted, past)
    found = open_carts(since, facts_since(facts, midnight.date()), RULES, until, past=past.of(wanted)).toPandas()
    whole = open_carts(silver, facts, RULES, until).toPandas()
    expected = whole[(whole["cut_off_at"] >= midnight.replace(tzinfo=None)) & (whole["user_id"] <= 20)]
    assert len(expected) > 10 and (expected["session_s"] > (days + 1) * RULES.horizon_s).any()
    pd.testing.assert_frame_equal(by_id(found), by_id(expected), check_dtype=False)
    past.unpersist()


DAY_S = RULES.horizon_s
CASES = [
    # A cart opens whenever it comes to hold something: here b and k.
    happens("a", "remove_from_cart", 0),  # of nothing: nothing is owed
    happens("b", "cart", 1),
    happens("c", "cart", 2, product=2),
    happens("d", "remove_from_cart", 3),
    happens("e", "purchase", 4, product=2, price="-2.00"),  # a refund takes nothing out
    happens("f", "cart", 5),
    happens("g", "purchase", 6, product=2),
    happens("h", "purchase", 6, price="0.00"),  # takes it out, and is no sale
    happens("i", "cart", 6, product=3),  # before the purchases of its moment
    happens("j", "remove_from_cart", 7, product=3),
    happens("k", "cart", 8, product=4),
    # It is bought when its customer pays for its product in time.
    happens("in time", "cart", 0, user=2),
    happens("p2", "purchase", DAY_S, user=2, session="another"),
    happens("too late", "cart", 0, user=3),
    happens("p3", "purchase", DAY_S + 1, user=3),
    happens("at once", "cart", 0, user=4),
    happens("p4", "purchase", 0, user=4),
    happens("given away", "cart", 0, user=5),
    happens("p5", "purchase", 1, user=5, price="0.00"),
    happens("another product", "cart", 0, user=6),
    happens("p6", "purchase", 1, user=6, product=2),
    # New products, free ones, customers without a past or a session have rows like all others.
    happens("free", "cart", 0, product=7, user=7, price="0.00"),
    happens("new", "cart", 3 * DAY_S, product=8, user=8, session=None, price="5.00"),
    happens("not known yet", "cart", 9 * DAY_S + 1, user=9),
    happens("p9", "purchase", 9 * DAY_S + 2, user=9),
]


def test_each_case_has_a_clear_result(spark: SparkSession) -> None:
    carts = carts_of(frame(spark, CASES), NOON + timedelta(seconds=10 * DAY_S)).toPandas().set_index("event_id")
    bought = {"in time": True, "too late": False, "at once": True, "given away": False, "another product": False}
    others = {"b": False, "k": False, "free": False, "new": False, "not known yet": None}
    assert carts["bought"].to_dict() == bought | others
    free, new = carts.loc["free"], carts.loc["new"]
    assert np.isnan(free[["product_rate", "log_price_to_catalogue"]].astype(float)).all()
    # 3 of 11 cart events before were bought, and 20 at their rate are added to none.
    assert (new["product_carts"], new["product_rate"]) == (0, pytest.approx(3 / 11))
    assert (new["user_orders"], new["user_visits"], new["session_carts"]) == (0, 0, 1)
    assert np.isnan(new[["log_price_to_product", "last_order_days", "idle_s"]].astype(float)).all()


def test_of_no_events_there_are_no_carts(spark: SparkSession) -> None:
    carts = carts_of(frame(spark, []))
    assert carts.columns == [*KEYS, *OUTCOME, *NUMBERS, *CATEGORIES] and carts.collect() == []


def with_purchases_of_the_session(events: DataFrame) -> DataFrame:
    """The planted leak: also purchases after the cut-off."""
    session = Window.partitionBy("user_id", "user_session")
    total = F.count_if(F.col("event_type") == "purchase").over(session).alias("all_purchases")
    return carts_of(events).join(events.select("event_id", total), "event_id")


@pytest.mark.usefixtures("interpreted")
def test_no_feature_knows_what_happens_later(store: tuple[list[CartEvent], DataFrame, pd.DataFrame]) -> None:
    _, silver, carts = store
    assert_point_in_time(silver, carts, carts_of, np.random.default_rng(1), cut_offs=2)


@pytest.mark.usefixtures("interpreted")
def test_a_feature_that_knows_what_happens_later_is_named(
    store: tuple[list[CartEvent], DataFrame, pd.DataFrame],
) -> None:
    _, silver, carts = store
    names = (*FEATURES, "all_purchases")
    rng = np.random.default_rng(1)
    with pytest.raises(LeakError, match=r"after the cut-off: all_purchases\.") as raised:
        assert_point_in_time(silver, carts, with_purchases_of_the_session, rng, cut_offs=2, names=names)
    assert raised.value.expected and raised.value.next_step


def test_a_cart_that_is_there_only_with_later_events_is_a_leak_too(spark: SparkSession) -> None:
    events = frame(spark, [happens("a", "cart", 0), happens("b", "purchase", 1)])

    def bought_ones(events: DataFrame) -> DataFrame:
        buyers = events.where(F.col("event_type") == "purchase").select("user_id")
        carts = events.where(F.col("event_type") == "cart").withColumn("cut_off_at", F.col("event_at"))
        return carts.join(buyers, "user_id", how="left_semi")

    assert point_in_time_violations(events, bought_ones, ["a"], ("price",)) == ["event_id"]
