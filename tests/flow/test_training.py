"""From silver to a champion in a real MLflow: what is kept, what goes on, and that it can be done again."""

from __future__ import annotations

import shutil
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from pyspark.sql import SparkSession

from lakehouse import commits
from lakehouse.clock import us_of
from lakehouse.errors import InputError, TableError
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_EVENTS
from ml.lifetime_value import train_and_register as training_of_value
from ml.lifetime_value.train_and_register import NAME, Trained, train_lifetime_value
from ml.model_card import card_of, chosen_run
from ml.reproduce import reproduce
from ml.tracking.lineage import input_url
from ml.tracking.promotion import CHALLENGER, CHAMPION
from ml.tracking.runs import Runs
from tests.card_numbers import numbers_in, written
from tests.lifetime_by_hand import Laws, Store, store_of
from tests.silver_of_store import at, silver_events

UNTIL = 152.0


@pytest.fixture(scope="module")
def store() -> Store:
    return store_of(Laws(), 6000, (0.0, 150.0), 200.0, seed=9)


def grow(spark: SparkSession, settings: Settings, store: Store, since: float, until: float) -> None:
    """One commit of silver.events, with the store clock at its end."""
    commits.create_tables(spark, (SILVER_EVENTS,), settings)
    commits.append(silver_events(spark, store, since, until), SILVER_EVENTS, settings, {"clock_us": us_of(at(until))})


@pytest.fixture(scope="module")
def trained(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, store: Store
) -> tuple[Settings, Trained, list[str]]:
    """A first training, which the tests look at, or go on from in a copy."""
    settings, said = Settings(home=tmp_path_factory.mktemp("trained")), list[str]()
    grow(spark, settings, store, 0.0, UNTIL)
    return settings, train_lifetime_value(spark, settings, Runs(settings), said.append), said


@pytest.fixture
def copied(trained: tuple[Settings, Trained, list[str]], tmp_path: Path) -> Settings:
    """Its lake in a home of its own, with an MLflow that knows nothing."""
    settings = Settings(home=tmp_path / "copy")
    shutil.copytree(trained[0].lake_url, settings.lake_url)
    return settings


def test_a_run_says_where_the_model_comes_from_and_how_good_it_is(
    spark: SparkSession, trained: tuple[Settings, Trained, list[str]]
) -> None:
    settings, first, said = trained
    runs = Runs(settings)
    run = runs.client.get_run(first.run_id)
    assert (first.decision.alias, first.version) == (CHAMPION, "1")
    assert run.data.tags["silver_version"] == "1"
    assert run.data.tags["store_clock_at"] == at(UNTIL).isoformat()
    assert run.data.tags["cut_off_at"] == at(UNTIL - 60).isoformat()
    assert len(run.data.tags["code"]) >= 40
    assert abs(run.data.metrics["purchases_relative_error"]) < 0.25
    plots = {each.path for each in runs.client.list_artifacts(first.run_id, "plots")}
    assert plots == {f"plots/{name}.png" for name in ("calibration", "gains", "pit", "residuals")}
    assert len(said) == 1 and "customers had ordered before" in said[0]
    champion = runs.champion(NAME)
    assert champion is not None and str(champion.version) == "1"


def test_what_is_kept_of_a_training_is_its_owners_alone(trained: tuple[Settings, Trained, list[str]]) -> None:
    """MLflow copies files with the modes that they had."""
    assert [path for path in trained[0].home.rglob("*") if path.stat().st_mode & 0o077] == []


def test_the_registered_model_predicts_as_the_trained_one(trained: tuple[Settings, Trained, list[str]]) -> None:
    Runs(trained[0])
    loaded = mlflow.pyfunc.load_model(f"models:/{NAME}@{CHAMPION}")
    customers = pd.DataFrame(
        {"frequency": [0, 4], "recency_days": [0.0, 80.0], "age_days": [90.0, 90.0], "monetary_value": [np.nan, 20.0]}
    )
    near, far = (loaded.predict(customers, params={"horizon_days": days}) for days in (30.0, 90.0))
    assert (near["expected_purchases"] < far["expected_purchases"]).all()
    assert far["probability_alive"][0] == 1.0 and 0 < far["probability_alive"][1] < 1
    with pytest.raises(MlflowException, match="monetary_value"):
        loaded.predict(customers.drop(columns="monetary_value"))


def test_the_kept_input_does_not_say_whose_rows_they_are(
    spark: SparkSession, trained: tuple[Settings, Trained, list[str]]
) -> None:
    settings, first, _ = trained
    kept = spark.read.format("delta").load(input_url(settings, first.run_id))
    assert not any("user" in name for name in kept.columns)
    assert kept.count() == int(Runs(settings).client.get_run(first.run_id).data.params["customers"])


def test_a_card_has_no_number_that_the_run_has_not(trained: tuple[Settings, Trained, list[str]]) -> None:
    settings, first, _ = trained
    runs = Runs(settings)
    run = chosen_run(runs, NAME)
    assert run.info.run_id == first.run_id
    card = card_of(runs, NAME, run, "Made-up customers.")
    report = first.training.report
    totals = report.cohorts[["predicted", "low", "high", "observed"]].to_numpy().ravel()
    found = numbers_in(card, "How good it was")
    assert len(found) > 25 and found <= written([*run.data.metrics.values(), *totals])
    assert f"Version {first.version}, the champion. Made by `lakehouse ml card` from run `{first.run_id}`" in card
    assert f"| {int(run.data.params['customers']):,} customers who had ordered before 2020-01-01 00:00:00 UTC," in card
    assert run.data.tags["code"] in card and "\nMade-up customers.\n" in card and "$" not in card


def test_the_same_version_gives_the_same_metrics_and_no_new_champion(
    spark: SparkSession, trained: tuple[Settings, Trained, list[str]]
) -> None:
    settings, first, _ = trained
    again = train_lifetime_value(spark, settings, Runs(settings), print)
    assert again.training.report.metrics == first.training.report.metrics
    assert again.decision.alias == CHALLENGER
    champion = Runs(settings).champion(NAME)
    assert champion is not None and str(champion.version) == first.version


def test_a_worse_champion_gives_way_and_a_worse_candidate_does_not_go_on(
    spark: SparkSession, copied: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(copied)
    right = training_of_value.train

    def worse(rows: pd.DataFrame, horizon_days: float, seed: int) -> training_of_value.Training:
        """As if who comes back did so four times as often, found by a fit of rows that say so."""
        return right(rows.assign(frequency=rows["frequency"] * 4), horizon_days, seed)

    def poor() -> Trained:
        with monkeypatch.context() as patch:
            patch.setattr(training_of_value, "train", worse)
            patch.setattr(training_of_value, "failed_checks", lambda _report: [])
            return train_lifetime_value(spark, copied, runs, print)

    assert poor().decision.alias == CHAMPION  # there was none
    grow(spark, copied, store, UNTIL, UNTIL + 7)
    good = train_lifetime_value(spark, copied, runs, print)
    assert good.decision.alias == CHAMPION and "Better" in good.decision.reason
    bad = poor()
    assert bad.decision.alias == CHALLENGER and "Not better" in bad.decision.reason
    champion = runs.champion(NAME)
    assert champion is not None and str(champion.version) == good.version


def test_a_run_can_be_done_again_also_when_its_version_of_silver_is_gone(spark: SparkSession, copied: Settings) -> None:
    runs = Runs(copied)
    first = train_lifetime_value(spark, copied, runs, print)
    same = reproduce(spark, copied, runs, first.run_id)
    assert (same.source, dict(same.differ)) == ("silver.events, version 1", {})
    assert same.metrics == len(first.training.report.metrics)
    for file in Path(SILVER_EVENTS.path(copied)).rglob("*.parquet"):
        file.unlink()  # as after a VACUUM that has let go of the version
    kept = reproduce(spark, copied, runs, first.run_id)
    assert (kept.source, dict(kept.differ)) == ("the kept input", {})
    runs.client.log_metric(first.run_id, "purchases_mae", 1.0)
    assert list(reproduce(spark, copied, runs, first.run_id).differ) == ["purchases_mae"]
    with pytest.raises(InputError, match="There is no run nowhere"):
        reproduce(spark, copied, runs, "nowhere")


def test_without_anything_to_learn_from_it_says_so(spark: SparkSession, settings: Settings, store: Store) -> None:
    runs = Runs(settings)
    with pytest.raises(TableError, match=r"silver.events in .* has no events"):
        train_lifetime_value(spark, settings, runs, print)
    commits.create_tables(spark, (SILVER_EVENTS,), settings)
    with pytest.raises(TableError, match="has no events"):
        train_lifetime_value(spark, settings, runs, print)
    grow(spark, settings, store, 0.0, 30.0)
    with pytest.raises(TableError, match="Nobody had ordered before 2019-09-01"):
        train_lifetime_value(spark, settings, runs, print)
