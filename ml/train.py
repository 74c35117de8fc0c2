"""spark-submit ml/train.py: silver.events -> models in MLflow."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import typer
from pyspark.sql import SparkSession

from lakehouse.command import run_alone
from lakehouse.errors import LakehouseError
from lakehouse.jobs import in_session
from lakehouse.manifests import refuse_unfinished
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from lakehouse.visible import print_visible
from ml.models import MODELS, OneModel
from ml.tracking.runs import Runs
from ml.tracking.training_result import Judged, Trained

log = logging.getLogger("lakehouse")


@dataclass(frozen=True)
class Untrained:
    """:param reason: why there is no new version."""

    model: str
    reason: str


def train_each(
    spark: SparkSession, settings: Settings, runs: Runs, names: Sequence[str], stop: Stop
) -> Iterator[Trained[Judged] | Untrained]:
    """Trains these models, one after the other. One that cannot be trained does not keep the others from it."""
    for name in names:
        if stop.is_set():
            return
        try:
            yield MODELS[name].train(spark, settings, runs, partial(log.info, "%s: %s", name))
        except LakehouseError as error:
            log.error("%s: %s", name, error)
            yield Untrained(name, str(error))


def train_missing(spark: SparkSession, settings: Settings, stop: Stop) -> None:
    """Trains the models that have no champion. What cannot be trained is said in the log."""
    runs = Runs(settings)
    missing = [name for name in MODELS if runs.champion(name) is None]
    for each in train_each(spark, settings, runs, missing, stop):
        if isinstance(each, Trained):
            log.info("%s version %s is %s. %s", each.model, each.version, each.decision.alias, each.decision.reason)


def train(
    settings: Settings,
    model: OneModel = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, a line per model")] = False,
) -> int:
    """Train on silver.events as it is, log to MLflow, register, decide; exit code 1 if one cannot be."""
    found: list[Trained[Judged] | Untrained] = []

    def work(spark: SparkSession, settings: Settings, stop: Stop) -> None:
        refuse_unfinished(spark, settings)
        found.extend(train_each(spark, settings, Runs(settings), [model] if model else list(MODELS), stop))

    code = in_session("ml", ("ml",), work, settings=settings)
    for each in found:
        print_visible(json.dumps(_facts(each)) if as_json else _text(each))
    return code or int(any(isinstance(each, Untrained) for each in found))


def _facts(each: Trained[Judged] | Untrained) -> dict[str, Any]:
    if isinstance(each, Untrained):
        return vars(each)
    return {
        "model": each.model,
        "version": each.version,
        "run_id": each.run_id,
        "alias": each.decision.alias,
        "decision": each.decision.reason,
        "warnings": list(each.training.warnings),
        "metrics": dict(each.training.metrics),
    }


def _text(each: Trained[Judged] | Untrained) -> str:
    if isinstance(each, Untrained):
        return f"{each.model} was not trained: {each.reason}"
    lines = [f"{each.model} version {each.version}, run {each.run_id}"]
    lines.append(each.training.scores.round(4).to_string(index=False))
    lines += [f"WARNING: {warning}" for warning in each.training.warnings]
    return "\n".join([*lines, f"{each.decision.alias}: {each.decision.reason}"])


if __name__ == "__main__":
    sys.exit(run_alone(train))
