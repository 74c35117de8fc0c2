"""Drift of the purchase-intent model: the carts that opened on a day, and what came of what was said of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse import commits
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_CART_SCORES
from ml.drift.days import Judged, Span, midnight
from ml.drift.measures import Learned, bought_outcomes
from ml.purchase_intent.columns import FEATURES, RATIOS
from ml.purchase_intent.features import open_carts
from ml.purchase_intent.model import matrix
from ml.purchase_intent.product_facts import product_facts
from ml.purchase_intent.registry import NAME
from ml.purchase_intent.train_and_register import rules_of
from ml.tracking.lineage import kept_input
from ml.tracking.runs import Runs

NOT_OF_THE_CART = ("weekday", "product_carts", *RATIOS)
"""One for all carts of a day, or made of what is known of products by then, which grows with the log. Each day is far
from the others in these, without anything being wrong.
"""

COMPARED = tuple(name for name in FEATURES if name not in NOT_OF_THE_CART)


class CartDrift:
    """A version of the model. It has learned from carts whose outcome was known before the holdout; the
    days after that are compared with these.
    """

    def __init__(self, spark: SparkSession, settings: Settings, runs: Runs, version: ModelVersion) -> None:
        self._spark, self._settings, self._version = spark, settings, version
        self._learned_until_at = runs.told_at(version, "trained_until_at")
        self._rules = rules_of(runs.client.get_run(version.run_id))

    @property
    def features(self) -> Span:
        return Span(self._learned_until_at)

    @property
    def outcomes(self) -> Span:
        """Of carts that opened at the end of a day it is known later what became of them."""
        return Span(self._learned_until_at, timedelta(seconds=self._rules.horizon_s))

    def judge(
        self, events: DataFrame, clock_at: datetime, features_on: Sequence[date], outcomes_on: Sequence[date]
    ) -> Iterator[Judged]:
        """In: all of silver.events. Carts that are no openings any more, by what came late, count in neither."""
        carts = self._carts(events, clock_at, midnight(min([*features_on, *outcomes_on])))
        opened_on = carts["cut_off_at"].dt.date
        if features_on:
            kept = kept_input(self._spark, self._settings, self._version.run_id)
            learned = Learned(kept[kept["outcome_at"] < self._learned_until_at], COMPARED)
            for day in features_on:
                yield from ((day, found) for found in learned.against(matrix(carts[opened_on == day])))
        said = carts.merge(self._scores(outcomes_on), on="event_id") if outcomes_on else carts
        for day in outcomes_on:
            of_day = said[said["cut_off_at"].dt.date == day]
            came, users = of_day["bought"].to_numpy(bool), of_day["user_id"].to_numpy(np.int64)
            yield from ((day, found) for found in bought_outcomes(of_day["probability"].to_numpy(float), came, users))

    def _carts(self, events: DataFrame, clock_at: datetime, since_at: datetime) -> pd.DataFrame:
        facts = product_facts(events, self._rules, clock_at).persist()  # read for product, category and catalogue
        try:
            return open_carts(events, facts, self._rules, clock_at, since_at).toArrow().to_pandas()
        finally:
            facts.unpersist()

    def _scores(self, days: Sequence[date]) -> pd.DataFrame:
        """What this version has said: event_id, probability."""
        if commits.current_version(self._spark, GOLD_CART_SCORES, self._settings) < 0:
            return pd.DataFrame({"event_id": pd.Series(dtype=str), "probability": pd.Series(dtype=float)})
        scores = commits.read_table(self._spark, GOLD_CART_SCORES, self._settings)
        mine = (F.col("model_name") == NAME) & (F.col("model_version") == int(self._version.version))
        chosen = scores.where(mine & F.col("opened_on").isin(list(days)))
        return chosen.select("event_id", "probability").toArrow().to_pandas()
