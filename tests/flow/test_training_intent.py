"""Purchase intent from silver to a champion in a real MLflow: what is kept, what goes on, and what stops it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from lakehouse import commits
from lakehouse.clock import us_of
from lakehouse.errors import InputError, TableError
from lakehouse.settings import PREFIX, Settings
from lakehouse.tables import SILVER_EVENTS
from ml.model_card import card_of, show_cards
from ml.purchase_intent import train_and_register as training_of_intent
from ml.purchase_intent.features import open_carts
from ml.purchase_intent.leakage import LeakError, assert_point_in_time
from ml.purchase_intent.model import CartDataError, IntentSettings, matrix, probabilities
from ml.purchase_intent.registry import classifier_of
from ml.purchase_intent.train_and_register import NAME, train_purchase_intent
from ml.purchase_intent.training import INPUT, IntentTraining, train_intent
from ml.reproduce import reproduce
from ml.tracking.lineage import ROW, input_url, kept_input
from ml.tracking.promotion import CHALLENGER, CHAMPION
from ml.tracking.runs import Logged, Runs
from ml.tracking.training_result import Trained
from tests.card_numbers import numbers_in, written
from tests.carts_of_store import cart_events
from tests.silver_of_store import at

CARTS, DAYS = 1600, 40.0
First = tuple[Settings, Trained[IntentTraining], list[str]]


@pytest.fixture(scope="module", autouse=True)
def _quicker() -> Iterator[None]:
    """Fewer folds and cut-offs than in earnest: what is learned here is simple."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_of_intent, "SETTINGS", IntentSettings(folds=2, min_each=20))
        patch.setattr(training_of_intent, "assert_point_in_time", partial(assert_point_in_time, users=50))
        patch.setenv(f"{PREFIX}ML_LEAK_CUT_OFFS", "2")
        yield


@pytest.fixture
def no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """For leaks, in features in which the first training has found none: it is half of the time of a training."""
    monkeypatch.setattr(training_of_intent, "assert_point_in_time", lambda *_: None)


def lake_of(spark: SparkSession, settings: Settings, events: DataFrame) -> None:
    commits.create_tables(spark, (SILVER_EVENTS,), settings)
    commits.append(events, SILVER_EVENTS, settings, {"clock_us": us_of(at(DAYS))})


@pytest.fixture(scope="module")
def trained(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> First:
    """A first training, which the tests look at, or go on from in a copy."""
    settings, said = Settings(home=tmp_path_factory.mktemp("trained")), list[str]()
    lake_of(spark, settings, cart_events(spark, CARTS, DAYS, seed=3))
    return settings, train_purchase_intent(spark, settings, Runs(settings), said.append), said


@pytest.fixture
def copied(trained: First, tmp_path: Path) -> Settings:
    """Its lake in a home of its own, with an MLflow that knows nothing."""
    settings = Settings(home=tmp_path / "copy")
    shutil.copytree(trained[0].lake_url, settings.lake_url, ignore=shutil.ignore_patterns("ml"))
    return settings


def test_a_run_says_where_the_model_comes_from_and_how_good_it_is(trained: First) -> None:
    settings, first, said = trained
    runs = Runs(settings)
    run = runs.client.get_run(first.run_id)
    tags, params, metrics = run.data.tags, run.data.params, run.data.metrics
    assert (first.decision.alias, first.version) == (CHAMPION, "1")
    assert (tags["silver_version"], tags["store_clock_at"]) == ("1", at(DAYS).isoformat())
    assert tags["trained_until_at"] == first.training.trained_until_at.isoformat()
    assert len(tags["code"]) >= 40 and tags["silver_committed_at"]
    assert (params["gap_s"], params["horizon_s"], params["folds"], params["kind"]) == ("1800", "86400", "2", "boosted")
    for model in ("base_rate", "product_rule", "logistic", "boosted"):
        assert metrics[f"{model}_roc_auc_low"] <= metrics[f"{model}_roc_auc"] <= metrics[f"{model}_roc_auc_high"]
    assert metrics["boosted_roc_auc_low"] > 0.6 > metrics["product_rule_roc_auc"]
    plots = {each.path for each in runs.client.list_artifacts(first.run_id, "plots")}
    assert plots == {f"plots/{name}.png" for name in ("calibration", "gains", "roc", "precision_recall")}
    # A day after it opened it is known what became of a cart: those of the last day are left out.
    assert len(said) == 1 and said[0].startswith("1,561 open carts, ") and int(params["carts"]) == 1561


def test_what_is_kept_of_a_training_is_its_owners_alone(trained: First) -> None:
    """MLflow copies files with the modes that they had."""
    assert [path for path in trained[0].home.rglob("*") if path.stat().st_mode & 0o077] == []


def test_the_registered_model_is_of_the_time_before_the_holdout(trained: First) -> None:
    _, first, _ = trained
    day_s = 86_400
    # Three quarters of 39 days; of these the outcomes of the last day were not known yet.
    assert (first.training.trained_until_at - at(29.25)).total_seconds() < day_s / 20
    assert first.training.model.carts == pytest.approx((29.25 - 1) / DAYS * CARTS, abs=2)


def test_a_home_that_was_copied_and_moved_has_its_runs_and_models(trained: First, tmp_path: Path) -> None:
    settings, first, _ = trained
    copy, home = tmp_path / "a copy", tmp_path / "moved"
    shutil.copytree(settings.home, copy)
    Runs(Settings(home=copy))
    copy.rename(home)
    here = (home / "mlflow" / "artifacts").as_uri()
    runs = Runs(Settings(home=home))
    assert runs.client.get_run(first.run_id).info.artifact_uri.startswith(f"{here}/")
    assert runs.client.list_artifacts(first.run_id, "plots")
    champion = runs.champion(NAME)
    assert champion is not None and classifier_of(champion).classes_.tolist() == [0, 1]
    with runs.run(NAME, "another") as run_id:
        runs.log(Logged({}, {}, {}, {"one": pd.DataFrame({"a": [1]})}))
    assert runs.client.get_run(run_id).info.artifact_uri.startswith(f"{here}/") and len(runs.table(run_id, "one")) == 1
    theirs = Runs(settings).client.get_run(first.run_id).info.artifact_uri
    assert theirs.startswith(settings.home.as_uri()), "the one that was copied stays as it is"


def test_what_was_registered_predicts_as_what_was_trained_bit_by_bit(spark: SparkSession, trained: First) -> None:
    settings, first, _ = trained
    champion = Runs(settings).champion(NAME)
    assert champion is not None and str(champion.version) == "1"
    rows = kept_input(spark, settings, first.run_id)
    expected = first.training.model.predict(rows)
    assert probabilities(classifier_of(champion), matrix(rows)).tobytes() == expected.tobytes()
    served = mlflow.pyfunc.load_model(f"models:/{NAME}@{CHAMPION}").predict(matrix(rows))
    assert served[:, 1].tobytes() == expected.tobytes()


def test_the_kept_input_does_not_say_whose_carts_they_are(spark: SparkSession, trained: First) -> None:
    settings, first, _ = trained
    kept = spark.read.format("delta").load(input_url(settings, first.run_id))
    assert kept.columns == [ROW, *INPUT]
    rows = kept.toPandas().sort_values(ROW)
    assert rows["cut_off_at"].is_monotonic_increasing
    new = rows["customer"][~rows["customer"].duplicated()]
    assert list(new) == list(range(len(new)))


def test_a_card_has_no_number_that_the_run_has_not(trained: First, tmp_path: Path) -> None:
    settings, first, _ = trained
    runs = Runs(settings)
    run = runs.client.get_run(first.run_id)
    assert show_cards(settings, run_id=first.run_id, out=tmp_path) == 0
    text = (tmp_path / f"{NAME}.md").read_text(encoding="utf-8")
    assert text == card_of(runs, NAME, run)
    found = numbers_in(text, "How good it was")
    assert len(found) > 40 and found <= written(run.data.metrics.values())
    assert f"| {first.training.model.carts:,} of these, whose outcome was known before" in text
    assert "Version 1, the champion." in text and "$" not in text
    with pytest.raises(InputError, match="There is no run of lifetime-value"):
        show_cards(settings, "lifetime-value")
    with pytest.raises(InputError, match="There is no run nowhere"):
        show_cards(settings, run_id="nowhere")
    unfinished = runs.client.create_run(run.info.experiment_id)
    with pytest.raises(InputError, match="has made no model"):
        show_cards(settings, run_id=unfinished.info.run_id)


def test_curves_are_kept_as_a_table_of_bearable_length(trained: First) -> None:
    settings, first, _ = trained
    kept = Runs(settings).table(first.run_id, "curves")
    whole = first.training.report.curves
    for model, rows in kept.groupby("model"):
        of_model = whole[whole["model"] == model]
        assert len(rows) == min(len(of_model), training_of_intent.POINTS)
        assert np.allclose(rows.iloc[[0, -1], :4], of_model.iloc[[0, -1], :4])
    long = pd.concat([whole.assign(model=f"{model}") for model in range(2) for _ in range(4)], ignore_index=True)
    assert training_of_intent.thinned(long).groupby("model").size().tolist() == [training_of_intent.POINTS] * 2
    assert training_of_intent.thinned(whole.head(0)).empty


@pytest.mark.usefixtures("no_second_look")
def test_the_same_version_gives_the_same_metrics_and_no_new_champion(spark: SparkSession, trained: First) -> None:
    settings, first, _ = trained
    runs = Runs(settings)
    again = train_purchase_intent(spark, settings, runs, print)
    assert again.training.metrics == first.training.metrics
    assert again.decision.alias == CHALLENGER and "Not better" in again.decision.reason
    champion = runs.champion(NAME)
    assert champion is not None and str(champion.version) == first.version


@pytest.mark.usefixtures("no_second_look")
def test_a_worse_champion_gives_way_and_a_worse_candidate_does_not_go_on(
    spark: SparkSession, copied: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(copied)

    def by_chance(rows: pd.DataFrame, settings: IntentSettings, seed: int) -> IntentTraining:
        """Outcomes that have nothing to do with the carts."""
        mixed = np.random.default_rng(seed).permutation(rows["bought"])
        return train_intent(rows.assign(bought=mixed), settings, seed)

    def poor(failures: list[str] | None) -> Trained[IntentTraining]:
        with monkeypatch.context() as patch:
            patch.setattr(training_of_intent, "train_intent", by_chance)
            if failures is not None:
                patch.setattr(training_of_intent, "failed_checks", lambda *_: failures)
            return train_purchase_intent(spark, copied, runs, print)

    chance = poor(None)
    assert chance.decision.alias == CHALLENGER and "better than chance" in chance.decision.reason
    assert runs.champion(NAME) is None
    assert poor([]).decision.alias == CHAMPION  # there was none
    good = train_purchase_intent(spark, copied, runs, print)
    assert good.decision.alias == CHAMPION and "Better" in good.decision.reason
    assert runs.client.get_run(good.run_id).data.tags["compared_on"].endswith("customers that are new to both")
    bad = poor([])
    assert bad.decision.alias == CHALLENGER and "Not better" in bad.decision.reason
    champion = runs.champion(NAME)
    assert champion is not None and str(champion.version) == good.version
    assert runs.client.get_model_version(NAME, bad.version).tags["decision"] == bad.decision.reason


@pytest.mark.usefixtures("no_second_look")
def test_a_run_can_be_done_again_also_when_its_version_of_silver_is_gone(
    spark: SparkSession, copied: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(copied)
    first = train_purchase_intent(spark, copied, runs, print)
    commits.append_nothing(spark, SILVER_EVENTS, copied, {"clock_us": us_of(at(DAYS + 9))})
    monkeypatch.setattr(training_of_intent, "SETTINGS", IntentSettings())  # the run's own count
    same = reproduce(spark, copied, runs, first.run_id)
    assert (same.source, dict(same.differ)) == ("silver.events, version 1", {})
    assert same.metrics == len(first.training.metrics) > 60
    for file in Path(SILVER_EVENTS.path(copied)).rglob("*.parquet"):
        file.unlink()  # as after a VACUUM that has let go of the version
    runs.client.log_metric(first.run_id, "boosted_brier", 1.0)
    kept = reproduce(spark, copied, runs, first.run_id)
    assert (kept.source, list(kept.differ)) == ("the kept input", ["boosted_brier"])


def test_a_leak_stops_the_training_and_is_named(
    spark: SparkSession, copied: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leaky(events: DataFrame, *others: object) -> DataFrame:
        """Purchases of the whole session, also after the cut-off."""
        session = Window.partitionBy("user_id", "user_session")
        total = F.count_if(F.col("event_type") == "purchase").over(session).alias("session_purchases")
        carts = open_carts(events, *others).drop("session_purchases")  # type: ignore[arg-type]
        return carts.join(events.select("event_id", total), "event_id")

    monkeypatch.setattr(training_of_intent, "open_carts", leaky)
    runs = Runs(copied)
    with pytest.raises(LeakError, match=r"after the cut-off: session_purchases\."):
        train_purchase_intent(spark, copied, runs, print)
    assert not runs.client.search_model_versions(f"name = '{NAME}'")
    run = runs.client.search_runs([runs.client.get_experiment_by_name(NAME).experiment_id])[0]
    assert run.info.status == "FAILED" and "session_purchases" in run.data.tags["failure"]
    assert not Path(input_url(copied, run.info.run_id)).exists()


def test_without_anything_to_learn_from_it_says_so(spark: SparkSession, settings: Settings) -> None:
    runs = Runs(settings)
    with pytest.raises(TableError, match=r"silver.events in .* has no events"):
        train_purchase_intent(spark, settings, runs, print)
    purchases = cart_events(spark, 10, DAYS, seed=3).where("event_type = 'purchase'")
    lake_of(spark, settings, purchases)
    with pytest.raises(CartDataError, match="0 open carts of 0 customers"):
        train_purchase_intent(spark, settings, runs, print)
    commits.append(cart_events(spark, 10, DAYS, seed=3), SILVER_EVENTS, settings, {"clock_us": us_of(at(DAYS))})
    with pytest.raises(CartDataError, match=r"\d+ open carts of \d+ customers"):
        train_purchase_intent(spark, settings, runs, print)
