"""`lakehouse ml drift`: judges the days that are complete and have not been, and shows how the champions stand."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import pandas as pd
from pyspark.sql import SparkSession

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


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="lakehouse ml drift",
        description="Is each day like what the champions have learned, and did what they said come true? "
        "A report: exit code 0 also where a band is left.",
    )
    parser.add_argument(
        "--days", type=int, default=NEWEST_DAYS, help=f"judge at most the newest so many ({NEWEST_DAYS})"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    kept: list[tuple[list[Standing], list[Row]]] = []

    def work(spark: SparkSession, settings: Settings, _stop: Stop) -> None:
        refuse_unfinished(spark, settings)
        keep_drift(spark, settings, Runs(settings), datetime.now(UTC), given.days)
        kept.append(kept_drift(spark, settings))

    code = in_session("ml drift", (), work)
    for stand, rows in kept:
        print_visible(_json(stand, rows) if given.json else _text(stand, rows))
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


if __name__ == "__main__":
    sys.exit(main())
