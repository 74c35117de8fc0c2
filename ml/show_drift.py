"""`lakehouse ml drift`: judges the days that are complete and have not been, and shows how the champions stand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import pandas as pd
import typer
from pyspark.sql import SparkSession

from lakehouse.command import AsJson
from lakehouse.jobs import in_session
from lakehouse.manifests import refuse_unfinished
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from lakehouse.visible import print_visible
from lakehouse.wire import plain
from ml.drift.measures import OUTCOME
from ml.drift.standing import NEWEST_DAYS, Row, Standing
from ml.monitor import keep_drift, kept_drift
from ml.tracking.runs import Runs

_SHOWN = ("model_name", "observed_on", "measure", "variable", "rows", "value", "expected", "low", "high", "is_within")


def show_drift(
    settings: Settings,
    days: Annotated[int, typer.Option(help="judge at most the newest so many")] = NEWEST_DAYS,
    as_json: AsJson = False,
) -> int:
    """A report: exit code 0 also where a band is left."""
    kept: list[tuple[list[Standing], list[Row]]] = []

    def work(spark: SparkSession, settings: Settings, _stop: Stop) -> None:
        refuse_unfinished(spark, settings)
        keep_drift(spark, settings, Runs(settings), datetime.now(UTC), days)
        kept.append(kept_drift(spark, settings))

    code = in_session("ml drift", (), work, settings=settings)
    for stand, rows in kept:
        print_visible(_json(stand, rows) if as_json else _text(stand, rows))
    return code


def _json(stand: Sequence[Standing], rows: Sequence[Row]) -> str:
    return json.dumps({"models": [asdict(each) for each in stand], "rows": rows}, default=plain)


def _text(stand: Sequence[Standing], rows: Sequence[Row]) -> str:
    """A line per model, then outcomes and what is out of its band."""
    told = [row for row in rows if row["measure"] == OUTCOME or row["is_within"] is False]
    lines = [f"{each.model} {each.said}" for each in stand]
    if told:
        table = pd.DataFrame(told)[list(_SHOWN)].sort_values(["model_name", "observed_on", "measure", "variable"])
        lines.append(table.round(4).to_string(index=False, na_rep=""))
    return "\n".join(lines)
