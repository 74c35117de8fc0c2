"""Purchase intent, from silver to a registered model: read, look for leaks, train, keep the input, register, decide."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from pyspark.sql import DataFrame, SparkSession

from lakehouse import commits
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_EVENTS
from ml.purchase_intent.columns import FEATURES
from ml.purchase_intent.events import CartRules
from ml.purchase_intent.features import open_carts
from ml.purchase_intent.leakage import assert_point_in_time
from ml.purchase_intent.model import IntentSettings
from ml.purchase_intent.plots import calibration_plot, gains_plot, precision_recall_plot, roc_plot
from ml.purchase_intent.product_facts import product_facts
from ml.purchase_intent.registry import NAME, classifier_of, register
from ml.purchase_intent.training import IntentTraining, failed_checks, input_rows, log_scores, train_intent, unseen
from ml.tracking.lineage import Origin, keep_input, newest_origin
from ml.tracking.promotion import Gain, gain
from ml.tracking.runs import Logged, Runs
from ml.tracking.training_result import Say, Trained

SETTINGS = IntentSettings()
POINTS = 500
"""Of each curve in the table that is kept of it."""


def train_purchase_intent(spark: SparkSession, settings: Settings, runs: Runs, say: Say) -> Trained[IntentTraining]:
    """One training on the newest version of silver.events. The model that is registered knows the carts alone whose
    outcome was known before the holdout, the newest quarter, began. The report on the holdout is of models of the same
    kind, each trained on a part of the customers, and told of the others (`held_out`).

    It is compared with the champion on carts that neither has seen: see `intent_training.unseen`.

    :raises TableError: silver has no events.
    :raises CartDataError: too few carts were bought, or were not, or too few customers had them.
    :raises LeakError: a feature knows what happens after the cut-off. Nothing is kept or registered then.
    """
    origin = newest_origin(spark, settings)
    rules = CartRules(gap_s=settings.session_gap_s)
    with runs.run(NAME, origin.name) as run_id:
        rows = _checked_input(spark, settings, origin, rules)
        bought = int(rows["bought"].sum())
        say(f"{len(rows):,} open carts, {bought:,} of them bought, at silver {origin.silver_version}")
        training = train_intent(rows, SETTINGS, settings.ml_seed)
        keep_input(spark, settings, run_id, rows)
        runs.log(_logged(training, rows, origin, rules, settings))
        version = register(training.model)
        failures = failed_checks(training.metrics, training.model.kind)
        decision = runs.settle(NAME, version, failures, lambda champion: _gain(runs, champion, training, rows))
    return Trained(NAME, run_id, version, training, decision)


def input_of(spark: SparkSession, settings: Settings, run: Run) -> pd.DataFrame:
    """The input of a run, from the version of silver.events that it names."""
    tags = run.data.tags
    events = commits.read_table(spark, SILVER_EVENTS, settings, int(tags["silver_version"]))
    return input_rows(_carts(events, rules_of(run), datetime.fromisoformat(tags["store_clock_at"])))


def rules_of(run: Run) -> CartRules:
    """What a cart was to a run."""
    return CartRules(**{name: int(run.data.params[name]) for name in asdict(CartRules())})


def repeat(rows: pd.DataFrame, run: Run) -> IntentTraining:
    """The training of a run, on its input."""
    params = run.data.params
    counts = (int(params[name]) for name in ("folds", "min_each", "isotonic_from"))
    return train_intent(rows, IntentSettings(params["kind"], *counts), int(params["seed"]))


def _checked_input(spark: SparkSession, settings: Settings, origin: Origin, rules: CartRules) -> pd.DataFrame:
    events = commits.read_table(spark, SILVER_EVENTS, settings, origin.silver_version)
    carts = _carts(events, rules, origin.clock_at)

    def features(part: DataFrame) -> DataFrame:
        return open_carts(part, product_facts(part, rules, origin.clock_at), rules, origin.clock_at)

    rng = np.random.default_rng(settings.ml_seed)
    assert_point_in_time(events, carts, features, rng, settings.ml_leak_cut_offs)
    return input_rows(carts)


def _carts(events: DataFrame, rules: CartRules, known_until: datetime) -> pd.DataFrame:
    """Rows of `open_carts`."""
    facts = product_facts(events, rules, known_until).persist()  # read for product, category and catalogue
    try:
        return open_carts(events, facts, rules, known_until).toArrow().to_pandas()
    finally:
        facts.unpersist()


def _logged(
    training: IntentTraining, rows: pd.DataFrame, origin: Origin, rules: CartRules, settings: Settings
) -> Logged:
    report = training.report
    counts = {"carts": len(rows), "bought": int(rows["bought"].sum()), "customers": int(rows["customer"].nunique())}
    trained_on = {"trained_carts": training.model.carts, "trained_bought": training.model.bought}
    return Logged(
        params=asdict(SETTINGS) | asdict(rules) | {"seed": settings.ml_seed} | counts | trained_on,
        tags=origin.tags()
        | {"trained_until_at": training.trained_until_at.isoformat(), "warnings": " ".join(report.warnings)},
        metrics=training.metrics,
        tables={
            "metrics": report.metrics,
            "calibration": report.calibration,
            "curves": thinned(report.curves),
            "input_summary": rows[["bought", *FEATURES]].astype(float).describe().reset_index(names="statistic"),
        },
        figures={
            "calibration": calibration_plot(report.calibration),
            "gains": gains_plot(report.curves),
            "roc": roc_plot(report.curves),
            "precision_recall": precision_recall_plot(report.curves, report.bought_share),
        },
    )


def thinned(curves: pd.DataFrame) -> pd.DataFrame:
    """In: `IntentReport.curves`, as many points as there are carts. Out: of each model at most POINTS of them, evenly,
    with both ends.
    """
    chosen = [
        rows.index[np.unique(np.linspace(0, len(rows) - 1, POINTS).astype(int))] for _, rows in curves.groupby("model")
    ]
    return curves.loc[np.concatenate(chosen)] if chosen else curves


def _gain(runs: Runs, champion: ModelVersion, training: IntentTraining, rows: pd.DataFrame) -> Gain | None:
    """Of the candidate over the champion, on carts after both trainings. None: there are too few.

    :raises ModelError: the champion is none of ours, or of other features.
    """
    ended_at = runs.told_at(champion, "trained_until_at")
    found = unseen(rows, max(ended_at, training.trained_until_at), SETTINGS.min_each)
    if found is None:
        return None
    chosen, whose = found
    mlflow.set_tag("compared_on", whose)
    candidate, known = (log_scores(each, chosen) for each in (training.model.classifier, classifier_of(champion)))
    return gain(candidate, known, chosen["customer"].to_numpy())
