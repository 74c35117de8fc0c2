"""Scores by the champions of a real MLflow: who is scored when and by whom, and what stays when a model is none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.console import Console

from lakehouse import commits, manifests
from lakehouse.clock import us_of
from lakehouse.contract import json_schema
from lakehouse.files import delete_folder
from lakehouse.manifests import Manifest
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from lakehouse.tables import GOLD_CART_SCORES, GOLD_CUSTOMER_SCORES, SILVER_EVENTS, Table
from lakehouse.topics import Row
from lakehouse.wire import to_json
from ml.lifetime_value.features import SUMMARY
from ml.lifetime_value.scores import customer_scores
from ml.purchase_intent import registry as intent_registry
from ml.purchase_intent.columns import FEATURES
from ml.purchase_intent.events import CartRules
from ml.purchase_intent.features import open_carts
from ml.purchase_intent.history_cache import Days
from ml.purchase_intent.product_facts import product_facts
from ml.purchase_intent.scores import CartScores
from ml.score import Scoring, wait_for_champion
from ml.tracking.champions import Champion
from ml.tracking.score_state import read_scores
from operate.show import status
from tests.carts_of_store import cart_events
from tests.flow.steps import FakeTopic, Lake
from tests.registry import INTENT, VALUE, Registry, intent_model, value_model
from tests.silver_of_store import as_silver, at

COUNT, DAYS = 300, 5.5
MOMENT = timedelta(microseconds=1)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Of both models versions 1 and 2 that work. Of lifetime value 3, which fails on rows, and 4, which does not say
    up to when it knows.
    """
    found = Registry(Settings(home=tmp_path_factory.mktemp("registry")))
    for alpha in (4.4135, 30.0, np.nan):
        found.register_value(value_model(alpha))
    found.register_value(value_model(4.4135), is_ours=False)
    for seed in (1, 2):
        found.register_intent(intent_model(seed))
    return found


@pytest.fixture
def registry(versions: Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    for model in (VALUE, INTENT):
        versions.promote(model, "1")
    yield versions
    for model in (VALUE, INTENT):
        versions.promote(model, None)


class Store:
    """A lake whose silver.events grows, scored by rounds of one scoring; time passes when it is told to."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self.lake = Lake(spark, settings, FakeTopic())
        self.spark, self.settings, self.topic = spark, settings, self.lake.topic
        self.events = cart_events(spark, COUNT, DAYS, seed=3)
        commits.create_tables(spark, (SILVER_EVENTS,), settings)
        self.scoring = self.start()

    def start(self) -> Scoring:
        """As a process that was just started."""
        return Scoring(self.spark, self.settings, self.topic)

    def grow(self, since: float, until: float) -> None:
        """What happens from one day on to another, with the store clock at its end."""
        part = self.events.where((F.col("event_at") >= F.lit(at(since))) & (F.col("event_at") < F.lit(at(until))))
        self.add(part, until)

    def add(self, events: DataFrame, until: float) -> None:
        commits.append(events, SILVER_EVENTS, self.settings, {"clock_us": us_of(at(until))})

    def rows(self, table: Table) -> dict[Any, Row]:
        """By key."""
        rows = self.lake.read(table).to_pylist()
        by_key = {row[table.keys[0]]: row for row in rows}
        assert len(by_key) == len(rows)
        return by_key

    def versions(self, table: Table) -> dict[int, int]:
        """Version of the model -> rows that it has said."""
        counts: dict[int, int] = {}
        for row in self.rows(table).values():
            counts[row["model_version"]] = counts.get(row["model_version"], 0) + 1
        return counts

    def state(self, model: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = read_scores(self.settings)["models"][model]
        return found


@pytest.fixture
def store(spark: SparkSession, registry: Registry, tmp_path: Path) -> Store:
    """Its lake is this test's own."""
    return Store(spark, registry.settings.model_copy(update={"lake": str(tmp_path / "lake"), "customer_scores_s": 0.0}))


def test_a_promotion_takes_effect_in_the_next_round(store: Store, registry: Registry) -> None:
    store.grow(0, 5.0)
    store.scoring.round()
    first = store.rows(GOLD_CART_SCORES)
    facts, rules = product_facts(store.events, CartRules(), at(5)), CartRules()
    carts = open_carts(store.events, facts, rules, at(5)).toPandas()
    since, until = (at(day).replace(tzinfo=None) for day in (4, 5))
    carts = carts[(carts["cut_off_at"] > since) & (carts["cut_off_at"] < until)]
    told = dict(zip(carts["event_id"], intent_model(1).predict(carts), strict=True))
    assert len(told) > 40
    assert {key: row["probability"] for key, row in first.items()} == told
    customers = store.rows(GOLD_CUSTOMER_SCORES)
    orders = store.events.where(F.col("event_at") < F.lit(at(5))).where("event_type = 'purchase'")
    assert set(customers) == {row.user_id for row in orders.select("user_id").distinct().collect()}
    whose = {(row["model_name"], row["model_version"], row["silver_version"]) for row in customers.values()}
    assert whose == {(VALUE, 1, 1)}
    assert store.state(INTENT) | {"scored_at": ""} == {
        "state": "in force",
        "version": 1,
        "reason": "",
        "scored": len(first),
        "silver_version": 1,
        "scored_at": "",
    }

    registry.promote(VALUE, "2")
    registry.promote(INTENT, "2")
    store.grow(5.0, 5.25)
    store.scoring.round()
    both = store.rows(GOLD_CART_SCORES)
    assert {key: both[key] for key in first} == first  # what was said stays
    new = [row for key, row in both.items() if key not in first]
    assert len(new) > 10 and {(row["model_version"], row["silver_version"]) for row in new} == {(2, 2)}
    assert all(row["opened_on"] == row["opened_at"].date() and row["outcome_at"] > at(5.25) for row in new)
    again = store.rows(GOLD_CUSTOMER_SCORES)
    assert set(again) > set(customers)
    assert {(row["model_version"], row["cut_off_at"] - at(5.25)) for row in again.values()} == {(2, MOMENT)}
    for table in (GOLD_CART_SCORES, GOLD_CUSTOMER_SCORES):
        store.lake.assert_published(table)


def test_between_promotions_only_who_has_ordered_is_scored_until_the_day_is_over(store: Store) -> None:
    store.grow(0, 5.0)
    store.scoring.round()
    first = store.rows(GOLD_CUSTOMER_SCORES)
    store.grow(5.0, 5.25)
    store.scoring.round()
    second = store.rows(GOLD_CUSTOMER_SCORES)
    part = store.events.where((F.col("event_at") >= F.lit(at(5.0))) & (F.col("event_at") < F.lit(at(5.25))))
    buyers = {row.user_id for row in part.where("event_type = 'purchase'").collect()}
    assert 0 < len(buyers) < len(first)
    assert {key for key, row in second.items() if row["revision"] == 2} == buyers
    assert {key: row for key, row in second.items() if key not in buyers} == {
        key: row for key, row in first.items() if key not in buyers
    }
    commits.append_nothing(store.spark, SILVER_EVENTS, store.settings, {"clock_us": us_of(at(6.0))})
    store.scoring.round()
    third = store.rows(GOLD_CUSTOMER_SCORES)
    assert {row["revision"] for row in third.values()} == {3} and set(third) == set(second)
    some = next(iter(set(first) - buyers))
    assert third[some]["probability_alive"] <= first[some]["probability_alive"]
    store.lake.assert_published(GOLD_CUSTOMER_SCORES)
    store.scoring.round()
    assert store.rows(GOLD_CUSTOMER_SCORES) == third  # nothing is new


def test_a_model_that_fails_leaves_the_last_scores_and_says_so(
    store: Store, registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "lakehouse")
    store.grow(0, 5.0)
    store.scoring.round()
    tables = (GOLD_CUSTOMER_SCORES, GOLD_CART_SCORES)
    first = [store.rows(table) for table in tables]
    store.grow(5.0, 5.1)
    registry.promote(VALUE, "3")
    registry.promote(INTENT, "2")
    with monkeypatch.context() as patch:
        patch.setattr(intent_registry, "FEATURES", FEATURES[:-1])
        for _ in range(2):  # said once, and not tried again at once
            store.scoring.round()
    assert [store.rows(table) for table in tables] == first
    value, intent = store.state(VALUE), store.state(INTENT)
    assert (value["state"], value["version"], intent["state"], intent["version"]) == ("failed", 3, "failed", 2)
    assert value["reason"] == (
        "lifetime-value version 3 has failed on rows: ValueError('what it says of some customer is no number')"
    )
    assert intent["reason"] == "purchase-intent version 2 was trained on other features (weekday)."
    assert (value["scored"], value["silver_version"]) == (len(first[0]), 1)
    assert sum("failed" in record.message for record in caplog.records) == 2
    console = Console(width=300, record=True, file=StringIO())
    status(store.settings, console)
    assert f"purchase-intent  failed: version 2, {intent['scored']} scored at silver 1" in console.export_text()

    registry.promote(VALUE, "4")
    store.scoring.round()
    assert store.state(VALUE)["reason"] == "lifetime-value version 4 has a run without a time in the tag cut_off_at."
    for model in (VALUE, INTENT):
        registry.promote(model, "1")
    store.scoring.round()
    assert (store.state(VALUE)["state"], store.state(INTENT)["state"]) == ("in force", "in force")
    assert store.versions(GOLD_CUSTOMER_SCORES) == {1: len(store.rows(GOLD_CUSTOMER_SCORES))}
    assert len(store.rows(GOLD_CART_SCORES)) > len(first[1])  # the carts that came meanwhile too


def test_without_the_registry_what_is_loaded_scores_on(
    store: Store, registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "lakehouse")
    registry.promote(VALUE, None)  # carts alone are scored
    store.grow(0, 5.0)
    store.scoring.round()
    first = store.rows(GOLD_CART_SCORES)
    assert store.state(VALUE)["state"] == "no champion" and not store.lake.version(GOLD_CUSTOMER_SCORES) >= 0

    def away(*_: object) -> None:
        raise MlflowException("connection refused")

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.get_model_version_by_alias", away)
        store.grow(5.0, 5.1)
        store.scoring.round()
        store.grow(5.1, 5.2)
        store.scoring.round()
    assert len(store.rows(GOLD_CART_SCORES)) > len(first)
    assert store.versions(GOLD_CART_SCORES) == {1: len(store.rows(GOLD_CART_SCORES))}
    assert (store.state(INTENT)["state"], store.state(INTENT)["version"]) == ("registry away", 1)
    assert sum("connection refused" in record.message for record in caplog.records) == 2  # once of each model
    registry.promote(VALUE, "1")
    store.scoring.round()
    assert (store.state(VALUE)["state"], store.state(INTENT)["state"]) == ("in force", "in force")


def test_what_was_committed_and_not_published_is_published_by_the_next_process(
    store: Store, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise RuntimeError("Kafka is gone")

    store.grow(0, 5.0)
    for model, other, table in ((INTENT, VALUE, GOLD_CART_SCORES), (VALUE, INTENT, GOLD_CUSTOMER_SCORES)):
        registry.promote(model, "1")
        registry.promote(other, None)
        with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="Kafka is gone"):
            patch.setattr(store.topic, "publish", gone)
            store.start().round()
        written = store.rows(table)
        assert written and not store.topic.by_table[table]
        store.start().round()
        assert store.rows(table) == written
        store.lake.assert_published(table)


def test_after_a_rebuild_customers_are_scored_anew_and_carts_stay_as_they_were(store: Store) -> None:
    for day in range(5):
        store.grow(day, day + 1)
    store.scoring.round()
    customers, carts = store.rows(GOLD_CUSTOMER_SCORES), store.rows(GOLD_CART_SCORES)
    assert {row["silver_version"] for row in customers.values()} == {5}
    # Silver begins anew, with fewer versions and without the last hours; and another rebuild keeps all that it has.
    delete_folder(store.spark, SILVER_EVENTS.path(store.settings))
    commits.create_tables(store.spark, (SILVER_EVENTS,), store.settings)
    store.grow(0, 4.9)
    store.start().round()
    fewer = store.rows(GOLD_CUSTOMER_SCORES)
    assert set(fewer) < set(customers)
    assert {(row["silver_version"], row["revision"]) for row in fewer.values()} == {(1, 2)}
    assert set(store.topic.gone[GOLD_CUSTOMER_SCORES]) == {(key,) for key in set(customers) - set(fewer)}
    assert store.rows(GOLD_CART_SCORES).items() >= carts.items()
    manifests.save(store.spark, store.settings, Manifest(1, "silver", "", {}, {}, None, 1, done_at="2026"))
    store.start().round()
    assert {row["revision"] for row in store.rows(GOLD_CUSTOMER_SCORES).values()} == {3}
    for table in (GOLD_CUSTOMER_SCORES, GOLD_CART_SCORES):
        store.lake.assert_published(table)


def test_rounds_go_on_by_the_day_before_while_a_new_day_is_prepared(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commit after commit of other days, as when files are replayed: each round is of another day."""
    beside = list[Callable[[], None]]()
    days = Days(store.spark, store.settings, CartRules(), lambda: 0.0, beside.append)
    scores = CartScores(store.spark, store.settings, store.topic, days)
    champion = Champion(INTENT, 1, intent_model(1).classifier)

    def scored() -> int:
        found = scores.round(champion)
        assert found is not None
        return found[0]

    store.grow(0, 2.5)
    assert scored() > 40 and not beside  # the first day is waited for
    store.grow(2.5, 3.5)
    assert scored() > 40 and len(beside) == 1
    store.grow(3.5, 5.0)
    assert scored() > 40 and len(beside) == 1  # one at a time
    beside.pop()()
    monkeypatch.setattr("ml.purchase_intent.scores._MOST_COMMITS", 0)  # the log has too many to be read
    store.grow(5.0, 5.1)
    assert 0 < scored() < 10
    openings = open_carts(store.events, product_facts(store.events, CartRules(), at(6)), CartRules(), at(6))
    opened_at = [each for each in openings.toArrow()["cut_off_at"].to_pylist() if at(1.5) < each < at(5.1)]
    in_time = [each for each in opened_at if not at(3.5) <= each <= at(4.0)]  # those were never seen while open
    assert sorted(row["opened_at"] for row in store.rows(GOLD_CART_SCORES).values()) == sorted(in_time)
    store.lake.assert_published(GOLD_CART_SCORES)


def test_a_day_that_cannot_be_prepared_ends_the_round_that_asks_for_it(store: Store) -> None:
    beside = list[Callable[[], None]]()
    days = Days(store.spark, store.settings, CartRules(), lambda: 0.0, beside.append)
    store.grow(0, 2.5)
    before = days.at(at(1), 1, at(2.5))
    assert days.at(at(2), 99, at(3.5)) is before
    beside.pop()()
    with pytest.raises(Exception, match="99"):
        days.at(at(2), 1, at(3.5))


def test_a_day_is_prepared_at_once_for_a_clock_that_went_back_and_rests_in_between(store: Store) -> None:
    seconds, beside = iter((0.0, 10.0, 15.0, 20.0, 20.0, 24.0, 25.0, 26.0)), list[Callable[[], None]]()
    days = Days(store.spark, store.settings, CartRules(), lambda: next(seconds), beside.append)
    store.grow(0, 4.5)
    assert days.at(at(2), 1, at(4.5)).until_at == at(2)
    assert days.at(at(3), 1, at(4.5)).until_at == at(2) and not beside  # it took 10 s: it rests until 20
    assert days.at(at(3), 1, at(4.5)).until_at == at(2) and len(beside) == 1
    beside.pop()()
    assert days.at(at(3), 1, at(4.5)).until_at == at(3)
    assert days.at(at(1), 1, at(2.5)).until_at == at(1)


def test_without_a_champion_no_spark_is_started_and_nothing_is_written(store: Store, registry: Registry) -> None:
    for model in (VALUE, INTENT):
        registry.promote(model, None)
    assert wait_for_champion(store.settings, Stop(), once=True) is False
    assert {model: found["state"] for model, found in read_scores(store.settings)["models"].items()} == {
        VALUE: "no champion",
        INTENT: "no champion",
    }
    store.grow(0, 5.0)
    store.scoring.round()
    assert store.lake.version(GOLD_CUSTOMER_SCORES) == store.lake.version(GOLD_CART_SCORES) == -1
    registry.promote(INTENT, "1")
    assert wait_for_champion(store.settings, Stop(), once=True) is True
    store.scoring.round()
    assert len(store.rows(GOLD_CART_SCORES)) > 40  # those that had opened before, too


def test_each_unusual_input_has_a_clear_result(store: Store) -> None:
    store.scoring.round()  # silver has no events
    commits.append_nothing(store.spark, SILVER_EVENTS, store.settings, {"clock_us": None})
    store.scoring.round()
    assert store.rows(GOLD_CUSTOMER_SCORES) == store.rows(GOLD_CART_SCORES) == {}
    assert store.state(VALUE)["state"] == store.state(INTENT)["state"] == "in force"
    noon = us_of(at(0.5)) - us_of(at(0))

    def happens(*events: tuple[int, str, str | None, int]) -> DataFrame:
        """(user, type, session, cents), all at one moment."""
        rows = [
            (f"{user}{kind}{session}", noon, kind, user, session, user, cents) for user, kind, session, cents in events
        ]
        columns = "event_id string, at_us long, event_type string, user_id long, user_session string, product_id long"
        return as_silver(store.spark.createDataFrame(rows, f"{columns}, cents long"))

    events = happens(
        (1, "purchase", "a", 500),
        (2, "purchase", "a", 0),  # nothing was paid
        (3, "purchase", "a", 500),
        (3, "purchase", "b", 100),  # two orders at one moment
        (4, "purchase", "a", -500),  # a refund, and nothing else
        (5, "cart", None, 100),  # without a session, of a product that nobody knows
        (6, "cart", "a", 0),
        (6, "purchase", "a", 0),
        (7, "view", "a", 100),
    )
    store.add(events, 0.5)
    store.scoring.round()
    customers = store.rows(GOLD_CUSTOMER_SCORES)
    assert set(customers) == {1, 3}
    assert customers[1]["probability_alive"] == 1.0 and customers[1]["expected_value"] > 0
    assert customers[1]["purchases_low"] <= customers[1]["purchases_high"]
    carts = {row["user_id"]: row for row in store.rows(GOLD_CART_SCORES).values()}
    assert set(carts) == {5, 6} and all(0 <= row["probability"] <= 1 for row in carts.values())
    assert carts[5]["user_session"] is None
    for table in (GOLD_CUSTOMER_SCORES, GOLD_CART_SCORES):
        check = jsonschema.Draft202012Validator(json_schema(table))
        for row in store.rows(table).values():
            check.validate(json.loads(to_json(row)))


def test_of_no_customers_there_are_no_scores_and_without_a_value_none_is_said() -> None:
    nobody = pd.DataFrame(columns=["user_id", *SUMMARY], dtype=float)
    assert customer_scores(nobody, value_model(4.4135)).num_rows == 0
    one = pd.DataFrame([[7, 1, 3.0, 9.0, 0.0]], columns=["user_id", *SUMMARY])
    (row,) = customer_scores(one, replace(value_model(4.4135), gamma_gamma=None)).to_pylist()
    assert row["user_id"] == 7 and row["expected_value"] is row["value_low"] is row["value_high"] is None
    (row,) = customer_scores(one, value_model(4.4135)).to_pylist()
    assert row["value_low"] == Decimal("0.00") and row["expected_value"] == round(row["expected_value"], 2) > 0
