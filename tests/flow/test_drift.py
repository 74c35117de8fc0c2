"""From silver, runs and scores to gold.model_drift and a line in `lakehouse status`."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from mlflow import MlflowClient
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from rich.console import Console

from lakehouse import commits
from lakehouse.clock import us_of
from lakehouse.locks import writer_of
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from lakehouse.tables import GOLD_CART_SCORES, GOLD_MODEL_DRIFT, SILVER_EVENTS
from lakehouse.values import frame_of_table
from ml.drift.measures import OUTCOME, PSI
from ml.lifetime_value.features import SUMMARY
from ml.lifetime_value.registry import NAME as VALUE
from ml.lifetime_value.train_and_register import train_lifetime_value
from ml.monitor import DriftRow, judged_alongside, keep_drift, kept_drift
from ml.purchase_intent import train_and_register as training_of_intent
from ml.purchase_intent.drift import COMPARED
from ml.purchase_intent.model import IntentSettings
from ml.purchase_intent.registry import NAME as INTENT
from ml.purchase_intent.train_and_register import train_purchase_intent
from ml.tracking.lineage import input_url
from ml.tracking.promotion import CHAMPION
from ml.tracking.runs import Runs
from operate.show import status
from tests.carts_of_store import cart_events
from tests.lifetime_by_hand import Laws, store_of
from tests.silver_of_store import at, silver_events

CARTS_A_DAY, DAYS = 60, 40
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def day(number: int) -> date:
    return at(number).date()


def lake_of(spark: SparkSession, settings: Settings, events: DataFrame, until: float) -> None:
    """One more commit of silver.events, with the store clock at its end."""
    commits.create_tables(spark, (SILVER_EVENTS,), settings)
    commits.append(events, SILVER_EVENTS, settings, {"clock_us": us_of(at(until))})


def promoted(settings: Settings, model: str, version: str) -> None:
    """Whatever the gate thinks of it: the drift of a model has nothing to do with how good it is."""
    Runs(settings).client.set_registered_model_alias(model, CHAMPION, version)


@pytest.fixture(scope="module")
def of_carts(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A champion that has learned from the first 29 of 40 days, and what it had said on days 34 to 36: rightly, upside
    down, and of few carts.
    """
    settings = Settings(home=tmp_path_factory.mktemp("carts"))
    events = new_customers(cart_events(spark, CARTS_A_DAY * DAYS, DAYS, seed=3))
    lake_of(spark, settings, events, DAYS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_of_intent, "SETTINGS", IntentSettings(folds=2, min_each=20))
        patch.setattr(training_of_intent, "assert_point_in_time", lambda *_: None)
        trained = train_purchase_intent(spark, settings, Runs(settings), print)
    promoted(settings, INTENT, trained.version)
    carts = events.where("event_type = 'cart'").select("event_id", "event_at", "price").toArrow().to_pandas()
    said = carts.assign(opened_on=carts["event_at"].dt.date, probability=probability(carts["price"]))
    said.loc[said["opened_on"] == day(35), "probability"] = 1 - said["probability"]
    few = said[said["opened_on"] == day(36)].head(2)
    write_scores(spark, settings, pd.concat([said[said["opened_on"].isin([day(34), day(35)])], few]))
    yield settings


def new_customers(events: DataFrame) -> DataFrame:
    """Each cart has its own: a store whose customers come back more and more is not steady."""
    number = F.substring("user_session", 2, 9).cast("bigint")
    return events.withColumn("user_id", F.lit(600_000_000) + number)


def probability(price: pd.Series) -> pd.Series:
    """The law of `cart_events`."""
    return 1 / (1 + np.exp(1.0 - 1.8 * (np.log(price.astype(float)) - 1.5)))


def write_scores(spark: SparkSession, settings: Settings, said: pd.DataFrame) -> None:
    rows = said.assign(model_name=INTENT, model_version=1)
    given = frame_of_table(spark, pa.Table.from_pandas(rows, preserve_index=False))
    commits.create_tables(spark, (GOLD_CART_SCORES,), settings)
    columns = [
        (F.col(each.name) if each.name in given.columns else F.lit(None)).cast(each.dataType).alias(each.name)
        for each in GOLD_CART_SCORES.schema.fields
    ]
    commits.append(given.select(*columns), GOLD_CART_SCORES, settings, {})


@pytest.fixture
def copied(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """The home of a module's lake, to go on from. Runs keep their files where they were made."""
    made: Settings = request.getfixturevalue(request.param)
    shutil.copytree(made.home, tmp_path / "copy")
    return Settings(home=tmp_path / "copy")


def kept(spark: SparkSession, settings: Settings) -> list[DriftRow]:
    return keep_drift(spark, settings, Runs(settings), NOW)


@pytest.mark.parametrize("copied", ["of_carts"], indirect=True)
def test_days_of_carts_are_judged_once_and_a_shifted_one_is_named(
    spark: SparkSession, copied: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    status(copied, Console(width=250))
    assert "not judged yet: `lakehouse up` does it" in capsys.readouterr().out

    first = kept(spark, copied)
    assert {row.model_name for row in first} == {INTENT} and {row.model_version for row in first} == {1}
    psi = [row for row in first if row.measure == PSI]
    # The clock is at the midnight that ends day 39: ten minutes later it would be complete.
    assert [row.observed_on for row in psi[:: len(COMPARED)]] == [day(number) for number in range(32, 39)]
    assert [row.variable for row in psi[: len(COMPARED)]] == list(COMPARED)
    assert {row.rows for row in psi} == {CARTS_A_DAY} and all(row.is_within for row in psi)
    assert {row.computed_at for row in first} == {NOW}

    outcomes = {(row.observed_on, row.variable): row for row in first if row.measure == OUTCOME}
    assert sorted({on for on, _ in outcomes}) == [day(number) for number in range(31, 38)]
    assert outcomes[day(34), "bought"].is_within and outcomes[day(34), "bought_of_top_tenth"].is_within
    assert outcomes[day(34), "bought"].rows == CARTS_A_DAY and outcomes[day(34), "bought_of_top_tenth"].rows == 6
    assert outcomes[day(35), "bought_of_top_tenth"].is_within is False
    assert (outcomes[day(36), "bought"].rows, outcomes[day(36), "bought"].is_within) == (2, None)
    assert (outcomes[day(33), "bought"].rows, outcomes[day(33), "bought"].value) == (0, None)

    version = commits.current_version(spark, GOLD_MODEL_DRIFT, copied)
    assert kept(spark, copied) == [] and commits.current_version(spark, GOLD_MODEL_DRIFT, copied) == version

    dear = new_customers(cart_events(spark, CARTS_A_DAY, 1, seed=4)).withColumns(
        {
            "user_id": F.col("user_id") + 1_000_000,
            "event_id": F.concat(F.lit("dear"), "event_id"),
            "event_at": F.col("event_at") + F.expr(f"INTERVAL {DAYS} DAYS"),
            "event_on": F.date_add("event_on", DAYS),
            "price": (F.col("price") * 8).cast("decimal(10,2)"),
        }
    )
    lake_of(spark, copied, dear.select(SILVER_EVENTS.schema.fieldNames()), DAYS + 1.1)
    second = kept(spark, copied)
    assert {(row.observed_on, row.measure) for row in second} == {
        (day(39), PSI), (day(40), PSI), (day(38), OUTCOME), (day(39), OUTCOME)
    }  # fmt: skip
    assert {row.variable for row in second if row.is_within is False} == {"price"}
    assert {row.observed_on for row in second if row.is_within is False} == {day(40)}

    status(copied, Console(width=250))
    line = next(each for each in capsys.readouterr().out.splitlines() if each.startswith("drift") and INTENT in each)
    assert "version 1: left its band: psi of " in line and f"on {day(40)}; outcome of bought" in line
    assert f"on {day(35)}" in line
    status(copied, Console(), as_json=True)
    states = {each["model"]: each for each in json.loads(capsys.readouterr().out)["drift"]}
    assert states[INTENT]["is_within"] is False
    assert states[VALUE]["said"] == "not judged yet: there is no champion"


@pytest.mark.parametrize("copied", ["of_carts"], indirect=True)
def test_another_version_has_rows_of_its_own_and_one_without_input_says_so(
    spark: SparkSession, copied: Settings
) -> None:
    client: MlflowClient = Runs(copied).client
    first = client.get_model_version(INTENT, "1")
    kept(spark, copied)
    second = client.create_model_version(INTENT, first.source, first.run_id)
    promoted(copied, INTENT, second.version)
    rows = kept(spark, copied)
    assert {row.model_version for row in rows} == {2} and len(rows) == 7 * len(COMPARED) + 14
    assert {row.rows for row in rows if row.measure == OUTCOME} == {0}, "what version 1 had said is not its"
    stand, newest = kept_drift(spark, copied)
    assert (
        next(each for each in stand if each.model == INTENT).said
        == f"version 2: within its band, {day(32)} to {day(38)}"
    )
    assert {row["model_version"] for row in newest} == {2}
    table = commits.read_table(spark, GOLD_MODEL_DRIFT, copied)
    assert table.select("model_version").distinct().count() == 2

    third = client.create_model_version(INTENT, first.source, first.run_id)
    promoted(copied, INTENT, third.version)
    shutil.rmtree(input_url(copied, first.run_id))
    assert kept(spark, copied) == []
    said = next(each.said for each in kept_drift(spark, copied)[0] if each.model == INTENT)
    assert said.startswith(f"version 3: not judged yet: The input of run {first.run_id} is not in ")


@pytest.fixture(scope="module")
def of_customers(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A champion that has learned up to day 92 of 152."""
    settings = Settings(home=tmp_path_factory.mktemp("customers"))
    store = store_of(Laws(), 4000, (0.0, 152.0), 152.0, seed=9)
    lake_of(spark, settings, silver_events(spark, store, 0.0, 152.0), 152.0)
    trained = train_lifetime_value(spark, settings, Runs(settings), print)
    promoted(settings, VALUE, trained.version)
    return settings


@pytest.mark.parametrize("copied", ["of_customers"], indirect=True)
def test_days_of_customers_are_compared_at_equal_length_of_log(spark: SparkSession, copied: Settings) -> None:
    rows = kept(spark, copied)
    psi = [row for row in rows if row.measure == PSI]
    assert [row.observed_on for row in psi[:: len(SUMMARY)]] == [day(number) for number in range(144, 151)]
    assert [row.variable for row in psi[: len(SUMMARY)]] == list(SUMMARY)
    assert all(row.is_within for row in psi), "steady laws: ages grow, but not in a log of the same length"
    outcomes = [row for row in rows if row.measure == OUTCOME]
    assert [row.variable for row in outcomes[:2]] == ["purchases", "value"] and len(outcomes) == 14
    assert all(row.is_within for row in outcomes)
    assert all(row.low < row.value < row.high for row in outcomes)  # type: ignore[operator]

    # As if from day 110 on nobody had come back.
    events = commits.read_table(spark, SILVER_EVENTS, copied).withColumns(
        {
            "is_first": F.expr("event_at = min(event_at) OVER (PARTITION BY user_id)"),
            "is_late": F.col("event_at") >= F.lit(at(110)),
        }
    )
    changed = events.where("is_first OR NOT is_late").drop("is_first", "is_late")
    commits.overwrite(changed, SILVER_EVENTS, copied, {"clock_us": us_of(at(154))})
    later = kept(spark, copied)
    assert {row.observed_on for row in later} == {day(151), day(152)}
    assert {row.variable for row in later if row.is_within is False} >= {"purchases", "value"}
    low = [row for row in later if row.variable == "purchases"]
    assert all(row.value == 0 and row.low > 0 for row in low)  # type: ignore[operator]


def test_without_events_or_a_champion_it_says_why(spark: SparkSession, settings: Settings) -> None:
    assert kept(spark, settings) == []
    assert {each.said for each in kept_drift(spark, settings)[0]} == {"not judged yet: there is no champion"}
    runs = Runs(settings)
    runs.client.create_registered_model(INTENT)
    experiment = runs.client.create_experiment(INTENT)
    run = runs.client.create_run(experiment)
    version = runs.client.create_model_version(INTENT, str(settings.home), run.info.run_id)
    promoted(settings, INTENT, version.version)
    assert kept(spark, settings) == []
    assert "version 1 has a run without a time in the tag trained_until_at" in kept_drift(spark, settings)[0][1].said
    runs.client.set_tag(run.info.run_id, "trained_until_at", at(10).isoformat())
    for name, number in {"gap_s": 1800, "horizon_s": 86400, "prior_carts": 20}.items():
        runs.client.log_param(run.info.run_id, name, number)
    assert kept(spark, settings) == []
    assert kept_drift(spark, settings)[0][1].said == "version 1: not judged yet: silver.events has no events"
    lake_of(spark, settings, cart_events(spark, 10, 5, seed=3), 10.5)
    assert kept(spark, settings) == []
    said = kept_drift(spark, settings)[0][1].said
    assert said.endswith("no day is complete since 2019-10-11 00:00 UTC, up to when it has learned")
    commits.append_nothing(spark, SILVER_EVENTS, settings, {"clock_us": us_of(at(10) + timedelta(days=1, minutes=11))})
    rows = kept(spark, settings)
    assert rows == [] and "The input of run" in kept_drift(spark, settings)[0][1].said


def test_beside_scores_it_is_kept_by_itself_and_lets_others_do_it_too(spark: SparkSession, settings: Settings) -> None:
    stop = Stop()
    with ExitStack() as somebody_else:
        somebody_else.enter_context(writer_of(("drift",), settings))
        with judged_alongside(spark, settings, stop, every_s=0.01):
            assert not stop.wait(0.5)
            assert commits.current_version(spark, GOLD_MODEL_DRIFT, settings) == -1
            somebody_else.close()
            end_s = time.monotonic() + 60
            while commits.current_version(spark, GOLD_MODEL_DRIFT, settings) < 1:
                assert not stop.is_set() and time.monotonic() < end_s
                time.sleep(0.05)
    assert {each.said for each in kept_drift(spark, settings)[0]} == {"not judged yet: there is no champion"}
