"""`lakehouse ml reproduce RUN_ID`: trains again what a run has trained, and compares every number."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import pandas as pd
import typer
from mlflow.entities import Run
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from lakehouse import commits
from lakehouse.command import AsJson
from lakehouse.jobs import in_session
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from lakehouse.tables import SILVER_EVENTS
from lakehouse.visible import print_visible
from ml.models import MODELS, Model, run_of
from ml.tracking.lineage import kept_input
from ml.tracking.runs import Runs

log = logging.getLogger("lakehouse")


@dataclass(frozen=True)
class Comparison:
    """:param source: where the input was read. :param differ: metrics that are not what they were: then and now."""

    run_id: str
    source: str
    metrics: int
    differ: Mapping[str, tuple[float | None, float]]


def reproduce(spark: SparkSession, settings: Settings, runs: Runs, run_id: str) -> Comparison:
    """Reads silver.events at the version of the run, or the kept input when that version is gone.

    :raises InputError: there is no such run, or it is of something else.
    """
    name, run = run_of(runs, run_id)
    model = MODELS[name]
    rows, source = _input(spark, settings, model, run)
    then, now = run.data.metrics, model.repeat(rows, run).metrics
    logged = {name: then.get(name) for name in now}
    differ = {name: (logged[name], now[name]) for name in now if logged[name] != now[name]}
    return Comparison(run_id, source, len(now), differ)


def _input(spark: SparkSession, settings: Settings, model: Model, run: Run) -> tuple[pd.DataFrame, str]:
    version = int(run.data.tags["silver_version"])
    if version in commits.versions(spark, SILVER_EVENTS, settings):
        try:
            return model.input_of(spark, settings, run), f"silver.events, version {version}"
        except (PySparkException, Py4JJavaError) as error:  # the second: Spark translates not all that Arrow meets
            log.warning("version %d of silver.events cannot be read: %s", version, str(error).splitlines()[0])
    return kept_input(spark, settings, run.info.run_id), "the kept input"


def reproduce_run(
    settings: Settings,
    run_id: Annotated[str, typer.Argument(help="as MLflow and `lakehouse ml train` show it")],
    as_json: AsJson = False,
) -> int:
    """Exit code 1 when a number differs."""
    found: list[Comparison] = []

    def work(spark: SparkSession, settings: Settings, _stop: Stop) -> None:
        found.append(reproduce(spark, settings, Runs(settings), run_id))

    code = in_session("ml", (), work, settings=settings)
    for comparison in found:
        print_visible(json.dumps(vars(comparison)) if as_json else _text(comparison))
        code = code or bool(comparison.differ)
    return int(code)


def _text(found: Comparison) -> str:
    lines = [
        f"run {found.run_id}, trained again from {found.source}: {found.metrics} metrics, {len(found.differ)} differ"
    ]
    lines += [f"{name}: was {then}, is {now}" for name, (then, now) in found.differ.items()]
    return "\n".join(lines)
