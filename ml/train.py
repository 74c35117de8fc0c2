"""spark-submit ml/train.py: silver.events -> models in MLflow."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from typing import Any

from pyspark.sql import SparkSession

from lakehouse.jobs import in_session
from lakehouse.manifests import refuse_unfinished
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from ml.runs import Runs
from ml.train_lifetime_value import NAME, Trained, train_lifetime_value

log = logging.getLogger("lakehouse")

_SHOWN = ("purchases", "value")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="lakehouse ml train", description="Train on silver.events as it is, log to MLflow, register, decide."
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    found: list[Trained] = []

    def work(spark: SparkSession, settings: Settings, _stop: Stop) -> None:
        refuse_unfinished(spark, settings)
        found.append(train_lifetime_value(spark, settings, Runs(settings), log.info))

    code = in_session("ml", ("ml",), work)
    for trained in found:
        print(json.dumps(_facts(trained)) if given.json else _text(trained))
    return code


def _facts(trained: Trained) -> dict[str, Any]:
    found = trained.training.report
    return {
        "model": NAME,
        "version": trained.version,
        "run_id": trained.run_id,
        "alias": trained.decision.alias,
        "decision": trained.decision.reason,
        "warnings": list(found.warnings),
        "metrics": found.metrics,
    }


def _text(trained: Trained) -> str:
    found = trained.training.report
    scores = found.scores.set_index(["target", "predictor"]).round(4).to_string()
    lines = [f"{NAME} version {trained.version}, run {trained.run_id}", scores]
    lines += [f"WARNING: {warning}" for warning in found.warnings]
    return "\n".join([*lines, f"{trained.decision.alias}: {trained.decision.reason}"])


if __name__ == "__main__":
    sys.exit(main())
