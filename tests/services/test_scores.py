"""Scores from silver to SQL: `spark-submit ml/score.py --once`, topics, PostgreSQL, the views."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from lakehouse import commits
from lakehouse.clock import us_of
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from lakehouse.tables import GOLD_CART_SCORES, GOLD_CUSTOMER_SCORES, GOLD_PRODUCTS, SILVER_EVENTS
from lakehouse.topics import GoldTopics
from ml.score import wait_for_champion
from ml.tracking.score_state import read_scores
from operate.served import served_counts
from operate.services.kafka import KafkaBroker
from operate.services.postgres import PostgresServer
from tests.carts_of_store import cart_events
from tests.gold_rows import product
from tests.postgres_server import database_in
from tests.registry import INTENT, VALUE, Registry, intent_model, value_model
from tests.services.runs import submit
from tests.services.sinks import serving, wait_until_served
from tests.services.store import own_name, store_in
from tests.silver_of_store import at


@pytest.fixture
def settings(kafka_broker: KafkaBroker, postgres: PostgresServer, tmp_path: Path) -> Settings:
    dsn = SecretStr(database_in(postgres, own_name(tmp_path)))
    return store_in(kafka_broker, tmp_path).model_copy(update={"postgres_dsn": dsn})


# It starts Spark, as a user does.
def test_customers_and_open_carts_are_scored_published_and_served(spark: SparkSession, settings: Settings) -> None:
    assert wait_for_champion(settings, Stop(), once=True) is False
    assert {name: each["state"] for name, each in read_scores(settings)["models"].items()} == {
        VALUE: "no champion",
        INTENT: "no champion",
    }
    registry = Registry(settings)
    registry.promote(VALUE, registry.register_value(value_model(4.4135)))
    registry.promote(INTENT, registry.register_intent(intent_model(1)))
    events = cart_events(spark, 200, 5.0, seed=3)
    commits.create_tables(spark, (SILVER_EVENTS,), settings)
    commits.append(events.where(F.col("event_at") < F.lit(at(5))), SILVER_EVENTS, settings, {"clock_us": us_of(at(5))})

    submit("ml/score.py", settings)
    counts = {
        table: commits.read_table(spark, table, settings).count() for table in (GOLD_CUSTOMER_SCORES, GOLD_CART_SCORES)
    }
    assert counts[GOLD_CUSTOMER_SCORES] > 50 and counts[GOLD_CART_SCORES] > 30
    with serving(settings):
        wait_until_served(settings)
        served = served_counts(settings)
        assert served["rows"] == sum(counts.values())
        assert {name: count for name, count in served.items() if name.startswith("broken") and count} == {}
        # The store clock of the views is that of gold.
        GoldTopics(settings).publish(GOLD_PRODUCTS, [product(7, "a", last_event_at=at(5))])
        wait_until_served(settings)
    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as store:
        expected, model = store.execute(
            """SELECT count(*) FILTER (WHERE expected_value > 0), max(model_name || ' ' || model_version)
               FROM storefront.customer_scores"""
        ).fetchone() or (0, "")
        assert (expected, model) == (counts[GOLD_CUSTOMER_SCORES], "lifetime-value 1")
        carts = store.execute("SELECT probability FROM storefront.open_carts ORDER BY probability DESC").fetchall()
        assert len(carts) == counts[GOLD_CART_SCORES] and 1 >= carts[0][0] >= carts[-1][0] >= 0
