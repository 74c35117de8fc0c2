"""Lifetime value, from silver to a registered model: read, keep the input, train, log, register, decide."""

from __future__ import annotations

from datetime import datetime, timedelta

import pandas as pd
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from pyspark.sql import SparkSession

from lakehouse import commits
from lakehouse.errors import TableError
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_EVENTS
from ml.lifetime_value.features import customers, orders_of
from ml.lifetime_value.plots import deciles_figure, gains_figure, pit_figure, residuals_figure
from ml.lifetime_value.registry import NAME, model_of, register
from ml.lifetime_value.training import Training, failed_checks, log_scores, train
from ml.tracking.lineage import Origin, keep_input, newest_origin
from ml.tracking.promotion import Gain, gain
from ml.tracking.runs import Logged, Runs
from ml.tracking.training_result import Say, Trained


def train_lifetime_value(spark: SparkSession, settings: Settings, runs: Runs, say: Say) -> Trained[Training]:
    """One training on the newest version of silver.events. The model that is registered is the one that was judged:
    it knows nothing of the holdout.

    :raises TableError: silver has no events, or no orders before the holdout.
    :raises FitError: too few customers, or nobody who bought again.
    """
    origin = newest_origin(spark, settings)
    horizon = timedelta(days=settings.ml_holdout_days)
    cut_off_at = origin.clock_at - horizon
    rows = input_at(spark, settings, origin.silver_version, cut_off_at, horizon)
    say(
        f"{len(rows):,} customers had ordered before {cut_off_at:%Y-%m-%d %H:%M} UTC, at silver {origin.silver_version}"
    )
    with runs.run(NAME, origin.name) as run_id:
        keep_input(spark, settings, run_id, rows)
        training = train(rows, settings.ml_holdout_days, settings.ml_seed)
        runs.log(_logged(training, rows, origin, cut_off_at, settings))
        version = register(training.model)
        failures = failed_checks(training.report)
        decision = runs.settle(
            NAME, version, failures, lambda champion: _gain(runs, champion, training, rows, cut_off_at, settings)
        )
    return Trained(NAME, run_id, version, training, decision)


def input_at(
    spark: SparkSession, settings: Settings, silver_version: int, cut_off_at: datetime, horizon: timedelta
) -> pd.DataFrame:
    """One row per customer, in the order of user_id: see `features.customers`.

    :raises TableError: nobody had ordered by then.
    """
    events = commits.read_table(spark, SILVER_EVENTS, settings, silver_version)
    rows = customers(orders_of(events), cut_off_at, horizon).orderBy("user_id").toArrow().to_pandas()
    if rows.empty:
        raise TableError(
            f"Nobody had ordered before {cut_off_at:%Y-%m-%d %H:%M} UTC at version {silver_version} of silver.events.",
            f"orders that are older than the holdout of {horizon.days} days",
            "wait for more events, or set LAKEHOUSE_ML_HOLDOUT_DAYS to less",
        )
    return rows


def input_of(spark: SparkSession, settings: Settings, run: Run) -> pd.DataFrame:
    """The input of a run, from the version of silver.events that it names."""
    tags, horizon = run.data.tags, timedelta(days=int(run.data.params["holdout_days"]))
    return input_at(spark, settings, int(tags["silver_version"]), datetime.fromisoformat(tags["cut_off_at"]), horizon)


def repeat(rows: pd.DataFrame, run: Run) -> Training:
    """The training of a run, on its input."""
    return train(rows, float(run.data.params["holdout_days"]), int(run.data.params["seed"]))


def _logged(training: Training, rows: pd.DataFrame, origin: Origin, cut_off_at: datetime, settings: Settings) -> Logged:
    found = training.report
    return Logged(
        params={
            "holdout_days": settings.ml_holdout_days,
            "seed": settings.ml_seed,
            "customers": len(rows),
            "repeat_buyers": int((rows["frequency"] > 0).sum()),
        },
        tags=origin.tags() | {"cut_off_at": cut_off_at.isoformat(), "warnings": " ".join(found.warnings)},
        metrics=found.metrics | _estimates(training),
        tables={
            "scores": found.scores,
            "deciles": found.deciles,
            "residuals": found.residuals,
            "pit": found.pit,
            "cohorts": found.cohorts,
            "gains": found.gains,
            "input_summary": rows.drop(columns="user_id").describe().reset_index(names="statistic"),
        },
        figures={
            "calibration": deciles_figure(found.deciles),
            "pit": pit_figure(found.pit),
            "gains": gains_figure(found.gains),
            "residuals": residuals_figure(found.residuals),
        },
    )


def _estimates(training: Training) -> dict[str, float]:
    model = training.model
    gamma_gamma = model.gamma_gamma.values() if model.gamma_gamma else {}
    named = {f"bg_nbd_{name}": value for name, value in model.bg_nbd.values().items()}
    named |= {f"gamma_gamma_{name}": value for name, value in gamma_gamma.items()}
    return named | {"bg_nbd_log_likelihood": model.bg_nbd.log_likelihood}


def _gain(
    runs: Runs, champion: ModelVersion, training: Training, rows: pd.DataFrame, cut_off_at: datetime, settings: Settings
) -> Gain | None:
    """Of the candidate over the champion, on the candidate's holdout. None: the champion knew a part of it.

    :raises ModelError: the champion is none of ours.
    """
    if runs.told_at(champion, "cut_off_at") > cut_off_at:
        return None
    return gain(training.log_scores, log_scores(model_of(champion), rows, settings.ml_holdout_days))
