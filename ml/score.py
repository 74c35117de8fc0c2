"""spark-submit ml/score.py: silver.events and the champions of MLflow -> gold.customer_scores, gold.cart_scores."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any

from mlflow.entities.model_registry import ModelVersion
from pyspark.sql import SparkSession

from lakehouse.jobs import in_session
from lakehouse.manifests import refuse_unfinished
from lakehouse.rounds import in_rounds
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from lakehouse.topics import GoldTopics, Topics
from ml.lifetime_value import registry as lifetime_registry
from ml.lifetime_value.model import LifetimeValue
from ml.lifetime_value.scores import CustomerScores
from ml.monitor import judged_alongside
from ml.purchase_intent import registry as intent_registry
from ml.purchase_intent.scores import CartScores
from ml.tracking.champions import InForce
from ml.tracking.runs import Runs
from ml.tracking.score_state import ScoreState

_LOOK_S = 5.0


class Scoring:
    """Both tables, in rounds: each by the champion of its model that is in force when the round begins."""

    def __init__(self, spark: SparkSession, settings: Settings, topics: Topics) -> None:
        self._state = ScoreState(settings)
        self._value, self._intent = _champions(settings, self._state)
        self._customers = CustomerScores(spark, settings, topics)
        self._carts = CartScores(spark, settings, topics)

    def round(self) -> None:
        """One round. Carts first: they cannot wait."""
        intent, value = self._intent.look_up(), self._value.look_up()
        if intent is None:
            self._carts.forget_progress()
        else:
            with self._intent.used():
                self._said(intent.name, self._carts.round(intent))
        if value is not None:
            with self._value.used():
                self._said(value.name, self._customers.round(value))
        self._state.write()

    def _said(self, model: str, found: tuple[int, int] | None) -> None:
        if found is not None and found[0]:
            self._state.scored(model, *found)


def scored_in_rounds(
    spark: SparkSession, settings: Settings, topics: Topics, stop: Stop
) -> AbstractContextManager[None]:
    """Scores in rounds while the block runs, and once more at its end."""
    return in_rounds((Scoring(spark, settings, topics).round,), settings.scores_s, stop, is_urgent=True)


def works(
    spark: SparkSession, settings: Settings, topics: Topics, stop: Stop
) -> tuple[AbstractContextManager[None], ...]:
    """What the process that scores does while it runs: it scores, and judges how the models fit the days."""
    return (judged_alongside(spark, settings, stop), scored_in_rounds(spark, settings, topics, stop))


def wait_for_champion(settings: Settings, stop: Stop, once: bool = False) -> bool:
    """Waits until one of the models has a champion: until then no Spark is needed.

    Out: False when it was stopped, or, with `once`, when there is none now.
    """
    models = _champions(settings, ScoreState(settings))
    while not any(model.is_there() for model in models):
        if once or stop.wait(_LOOK_S):
            return False
    return True


def _champions(settings: Settings, state: ScoreState) -> tuple[InForce[LifetimeValue], InForce[Any]]:
    """Of lifetime value and of purchase intent: versions that our training has made, and no others."""
    runs = Runs(settings)

    def value_of(version: ModelVersion) -> LifetimeValue:
        runs.told_at(version, "cut_off_at")
        return lifetime_registry.model_of(version)

    def intent_of(version: ModelVersion) -> Any:
        runs.told_at(version, "trained_until_at")
        return intent_registry.classifier_of(version)

    return (
        InForce(lifetime_registry.NAME, value_of, runs, state),
        InForce(intent_registry.NAME, intent_of, runs, state),
    )


def follow(spark: SparkSession, settings: Settings, stop: Stop, once: bool) -> None:
    refuse_unfinished(spark, settings)
    topics = GoldTopics(settings)
    with ExitStack() as until_done:
        for work in (
            (scored_in_rounds(spark, settings, topics, stop),) if once else works(spark, settings, topics, stop)
        ):
            until_done.enter_context(work)
        while not once and not stop.wait(_LOOK_S):
            pass


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="ml/score.py", description="Score customers and open carts by the champions in MLflow, and publish each."
    )
    parser.add_argument("--once", action="store_true", help="score what is there, then end")
    once = parser.parse_args(arguments).once
    return in_session("scores", ("scores",), partial(follow, once=once), partial(wait_for_champion, once=once))


if __name__ == "__main__":
    sys.exit(main())
