"""What late rows cost: it grows with the batch and the days that it touches, not with the table.

    python -m bench.late [--rows 1000000 10000000] [--repeats 5] [--json] [--keep FILE]

One table of silver.events for each number of rows, 100,000 events a day. Batches of 100,000 late records are judged and
written by silver's step, in turn between the tables: a day's file dropped again; half copies, half new events, over
the last ten days, which both tables have; and over the last three weeks, or all days of a table that is shorter. The
times are medians after a round to warm up; how many copies were found is checked to the record.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import typer
from pyspark.sql import SparkSession

from bench.command import Keep
from bench.late_rows import EVENTS_A_DAY, Late, a_day_again, late_records, make_silver, spread_over
from bench.latency import say_on_stderr
from bench.record import keep, recorded
from lakehouse.command import AsJson, run_alone
from lakehouse.errors import LakehouseError
from lakehouse.session import build_session
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_EVENTS
from operate.lake import open_table
from operate.supervisor import Say
from operate.terminal import TOOLS
from silver.refine import Refinement

ROWS, REPEATS, BATCH = [1_000_000, 10_000_000], 5, 100_000
CASES = ("a day again", "over ten days", "over three weeks")


@dataclass
class _Side:
    """One table and what was measured on it. :param seconds: case -> (judge, write) of each round."""

    rows: int
    settings: Settings
    refinement: Refinement
    files: int
    batches: int = 0
    days: dict[str, int] = field(default_factory=dict)
    duplicates: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def late(self, spark: SparkSession, case: str) -> Late:
        whole = self.rows // EVENTS_A_DAY
        self.days[case] = {CASES[0]: 1, CASES[1]: min(10, whole), CASES[2]: min(21, whole)}[case]
        return a_day_again(spark, 1) if case == CASES[0] else spread_over(spark, self.rows, self.days[case], BATCH)

    def measure(self, spark: SparkSession, case: str) -> None:
        """One batch: judged and written. :raises LakehouseError: not exactly the copies in it were found."""
        self.batches += 1
        late = self.late(spark, case)
        records = late_records(late, self.settings, self.batches)
        began_s = time.monotonic()
        judged = self.refinement.judge(records)
        judged_s = time.monotonic()
        self.refinement.write(judged, self.batches, datetime.now(UTC))
        written_s = time.monotonic()
        judged.release()
        records.unpersist()
        copies, refused = judged.counts["duplicates"], judged.counts["quarantined"]
        if (copies, refused) != (late.copies, 0):
            raise LakehouseError(f"{case}: {copies} copies, {refused} refused", f"{late.copies} and 0")
        self.duplicates[case] = copies
        self.seconds.setdefault(case, []).append((judged_s - began_s, written_s - judged_s))

    def result(self, case: str) -> dict[str, Any]:
        rounds = self.seconds[case][1:]
        return {
            "rows_in_table": self.rows,
            "case": case,
            "days_touched": self.days[case],
            "seconds": round(statistics.median(sum(each) for each in rounds), 2),
            "judge_s": round(statistics.median(judge for judge, _ in rounds), 2),
            "write_s": round(statistics.median(write for _, write in rounds), 2),
            "rounds_s": [round(sum(each), 2) for each in rounds],
            "duplicates_found": self.duplicates[case],
            "files_in_table": self.files,
            "files_of_these_days": self.files * self.days[case] * EVENTS_A_DAY // self.rows,
        }


def measure(settings: Settings, rows: Sequence[int], repeats: int) -> dict[str, Any]:
    """In: the sizes of the tables, ascending. Out: a result for each case and table, and their ratios.

    :param repeats: measured rounds, beside the one to warm up.
    """
    load_before = os.getloadavg()
    settings.home.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="bench-", dir=settings.home))
    spark = build_session("storefront bench late", settings)
    try:
        sides = [_make_side(spark, settings.model_copy(update={"home": home / str(n), "lake": ""}), n) for n in rows]
        for number in range(repeats + 1):
            say_on_stderr(f"round {number} of {repeats}" if number else "warming up")
            for case in CASES:
                # Who is first in one round is last in the next.
                for side in sides if number % 2 else sides[::-1]:
                    side.measure(spark, case)
    finally:
        spark.stop()
        shutil.rmtree(home, ignore_errors=True)
    results = [side.result(case) for case in CASES for side in sides]
    return {
        "batch_rows": BATCH,
        "results": results,
        "ratios": {case: _ratio([found["seconds"] for found in results if found["case"] == case]) for case in CASES},
        "load_average_before": [round(value, 2) for value in load_before],
        "load_average_after": [round(value, 2) for value in os.getloadavg()],
    }


def _make_side(spark: SparkSession, settings: Settings, rows: int) -> _Side:
    say_on_stderr(f"making a table of {rows:,} events")
    make_silver(spark, settings, rows)
    files = pa.table(open_table(SILVER_EVENTS, settings).get_add_actions()).num_rows
    return _Side(rows, settings, Refinement(spark, settings), files)


def _ratio(seconds: list[float]) -> float:
    return round(seconds[-1] / seconds[0], 2)


def text(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = [f"{result['batch_rows']:,} late rows in one batch"]
    for found in result["results"]:
        lines.append(
            f"  {found['case']:<17} {found['rows_in_table']:>11,} rows in {found['files_in_table']} files:"
            f" {found['seconds']:.2f} s (judge {found['judge_s']:.2f}, write {found['write_s']:.2f}),"
            f" {found['duplicates_found']:,} copies found, {found['files_of_these_days']} files of"
            f" {found['days_touched']} days"
        )
    lines += [f"{case}: {ratio} times as long in the largest table" for case, ratio in result["ratios"].items()]
    lines.append(f"load average: {result['load_average_before'][0]} before, {result['load_average_after'][0]} after")
    return "\n".join(lines)


def bench_late(
    settings: Settings,
    show: Say,
    rows: Annotated[list[int], typer.Option(metavar="N...", help="of each table, at least 1000000")] = ROWS,
    repeats: Annotated[int, typer.Option(help="measured rounds")] = REPEATS,
    as_json: AsJson = False,
    keep_at: Keep = None,
) -> int:
    """It grows with the batch and the days that it touches, not with the table."""
    result = recorded(measure(settings, sorted(rows), repeats), datetime.now(UTC))
    if keep_at:
        keep(result, keep_at)
    show(json.dumps(result, indent=2) if as_json else text(result))
    return 0


if __name__ == "__main__":
    sys.exit(run_alone(bench_late, TOOLS))
