"""Drift of the lifetime value model: customers as they are known on a day, and what came of what it says of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

import numpy as np
from mlflow.entities.model_registry import ModelVersion
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.settings import Settings
from ml.drift.days import Judged, Span, end_of
from ml.drift.measures import OUTCOME, Learned, Measured, total_outcomes
from ml.lifetime_value.calibration import DRAWS, drawn_totals
from ml.lifetime_value.features import SUMMARY, customers, orders_of
from ml.lifetime_value.holdout import TARGETS
from ml.lifetime_value.registry import model_of
from ml.lifetime_value.training import holdout_of, summary_of
from ml.tracking.lineage import kept_input
from ml.tracking.runs import Runs


class CustomerDrift:
    """A version of the model. What it has learned ends at its cut-off.

    A customer's numbers grow with age, and a store's with the length of its log. So a day is asked as the training was:
    customers who ordered in a time as long as the training's log, ending with the day, and their orders in it alone.
    """

    def __init__(self, spark: SparkSession, settings: Settings, runs: Runs, version: ModelVersion) -> None:
        self._spark, self._settings, self._version = spark, settings, version
        self._cut_off_at = runs.told_at(version, "cut_off_at")
        self._horizon = timedelta(days=settings.ml_drift_days)

    @property
    def features(self) -> Span:
        return Span(self._cut_off_at)

    @property
    def outcomes(self) -> Span:
        """A day's outcome is of what was to be said `ml_drift_days` before its end, and the model must not know it."""
        return Span(self._cut_off_at + self._horizon - timedelta(days=1))

    def judge(
        self, events: DataFrame, _clock_at: datetime, features_on: Sequence[date], outcomes_on: Sequence[date]
    ) -> Iterator[Judged]:
        """In: all of silver.events."""
        orders = orders_of(events).persist()  # read for each day
        try:
            if features_on:
                kept = kept_input(self._spark, self._settings, self._version.run_id)
                learned, look_back = Learned(kept, SUMMARY), timedelta(days=float(kept["age_days"].max()))
                for day in features_on:
                    seen = orders.where(F.col("ordered_at") >= F.lit(end_of(day) - look_back))
                    rows = customers(seen, end_of(day), self._horizon).select(*SUMMARY).toArrow().to_pandas()
                    yield from ((day, found) for found in learned.against(rows))
            for day in outcomes_on:
                yield from ((day, found) for found in self._outcome(orders, end_of(day) - self._horizon))
        finally:
            orders.unpersist()

    def _outcome(self, orders: DataFrame, said_at: datetime) -> Iterator[Measured]:
        """Of all customers who had ordered by then: what the model says of the time since, and what came."""
        rows = customers(orders, said_at, self._horizon).orderBy("user_id").toArrow().to_pandas()
        if rows.empty:
            yield from (Measured(OUTCOME, target, 0) for target in TARGETS)
            return
        model, days = model_of(self._version), self._horizon.days
        summary, holdout = summary_of(rows), holdout_of(rows)
        purchases, spending = model.laws(summary, days)
        said = [purchases.summed(())[0]]
        said += [spending.expected(said[0])] if spending else []
        everybody, rng = np.zeros(len(rows), dtype=np.intp), np.random.default_rng(self._settings.ml_seed)
        drawn = [drawn_totals(model.redrawn(rng), summary, days, everybody, rng) for _ in range(DRAWS)]
        totals = {}
        for number, (target, expected) in enumerate(zip(TARGETS, said, strict=False)):  # a model may have no value
            spread = np.array([totals_drawn[number][-1] for totals_drawn in drawn])
            totals[target] = (float(expected.sum()), float(holdout.observed(target).sum()), spread)
        yield from total_outcomes(len(rows), totals)
