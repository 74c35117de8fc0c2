"""How long sessions take for a backlog of events: in bulk, as they do it, and all of it through the stream.

    python -m bench.backlog [--events 1000000] [--json] [--keep FILE]

A store's events, day after day, judged and written by silver's step in commits of 100,000 at most; then a Spark session
for each way, on a copy of that lake, until silver.sessions has them all. What would be published goes nowhere. The rows
of both tables are compared.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import typer
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bench.command import Keep
from bench.latency import say_on_stderr
from bench.record import keep, recorded
from ingest.event_batch import EventBatch
from ingest.generate import history
from ingest.generated import SHAPE
from lakehouse import commits
from lakehouse.command import AsJson, run_alone
from lakehouse.errors import LakehouseError
from lakehouse.schemas import BRONZE_EVENTS, stable_columns
from lakehouse.session import spark_session
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from lakehouse.tables import SILVER_EVENTS, SILVER_SESSIONS, Table
from lakehouse.topics import Key, Row
from lakehouse.values import frame_of_table
from operate.supervisor import Say
from operate.terminal import TOOLS
from silver.refine import Refinement
from silver.sessions_writer import SessionsWriter

EVENTS, COMMIT = 1_000_000, 100_000
_START_AT = datetime(2020, 1, 6, tzinfo=UTC)
_KAFKA_AT = datetime(2021, 1, 1, tzinfo=UTC)


class _Nowhere:
    """Stands for Kafka."""

    def publish(self, table: Table, rows: list[Row], paid_at_us: Any = None) -> None:
        pass

    def withdraw(self, table: Table, keys: list[Key], revision: int) -> None:
        pass


class _WhenRead(Stop):
    """Says stop when sessions have read this version of silver.events."""

    def __init__(self, writer: SessionsWriter, version: int) -> None:
        super().__init__()
        self._writer, self._version = writer, version

    def is_set(self) -> bool:
        return self._writer.read_version >= self._version


def measure(settings: Settings, events: int) -> dict[str, Any]:
    """Out: seconds of each way, from a table without rows. :raises LakehouseError: their rows are not the same."""
    settings.home.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="bench-", dir=settings.home))
    try:
        full, load_before = settings.model_copy(update={"home": home / "full", "lake": ""}), os.getloadavg()
        with spark_session("storefront bench backlog", full) as spark:
            say_on_stderr(f"making {events:,} events")
            version = _make_silver(spark, full, events)
            rows = commits.read_table(spark, SILVER_EVENTS, full).count()
        seconds = {way: _take_in(way, full, home, version) for way in ("bulk", "stream")}
        with spark_session("storefront bench backlog", full) as spark:
            tables = [_rows_of(spark, _copy_of(full, home, way)) for way in seconds]
            if tables[0].exceptAll(tables[1]).count() or (sessions := tables[0].count()) != tables[1].count():
                raise LakehouseError("The tables of sessions are not the same.", "the same rows by either way")
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return {
        "events": rows,
        "sessions": sessions,
        "seconds": seconds,
        "events_per_s": {way: round(rows / took_s) for way, took_s in seconds.items()},
        "load_average_before": [round(value, 2) for value in load_before],
        "load_average_after": [round(value, 2) for value in os.getloadavg()],
    }


def _take_in(way: str, full: Settings, home: Path, version: int) -> float:
    settings = _copy_of(full, home, way)
    shutil.copytree(full.lake_url, settings.lake_url)
    with spark_session("storefront bench backlog", settings) as spark:
        writer = SessionsWriter(spark, settings, _Nowhere())
        say_on_stderr(f"measuring: {way}")
        began_s = time.monotonic()
        if way == "bulk":
            writer.catch_up(0)
        else:
            writer.stream(_WhenRead(writer, version))
        return round(time.monotonic() - began_s, 1)


def _copy_of(full: Settings, home: Path, way: str) -> Settings:
    most = {"stream": sys.maxsize}.get(way, full.sessions_bulk_events)
    return full.model_copy(update={"home": home / way, "sessions_bulk_events": most, "sessions_s": 0.0})


def _rows_of(spark: SparkSession, settings: Settings) -> DataFrame:
    return commits.read_table(spark, SILVER_SESSIONS, settings).select(*stable_columns(SILVER_SESSIONS.schema))


def _make_silver(spark: SparkSession, settings: Settings, events: int) -> int:
    """Also silver.sessions, of no events. Out: the newest version of silver.events."""
    refinement = Refinement(spark, settings)
    SessionsWriter(spark, settings, _Nowhere())
    offset = 0
    for number, batch in enumerate(_batches(events)):
        judged = refinement.judge(_records(spark, settings, batch, offset))
        refinement.write(judged, number + 1, datetime.now(UTC))
        judged.release()
        offset += len(batch)
    return refinement.version


def _batches(events: int) -> Iterator[EventBatch]:
    """So many events, in the order of time."""
    left = events
    for batch in history(SHAPE, 1, _START_AT, days=2 * events / SHAPE.rows_per_day + 1):
        for first in range(0, len(batch), COMMIT):
            part = batch.part(first, min(first + COMMIT, first + left, len(batch)))
            left -= len(part)
            yield part
            if not left:
                return


def _records(spark: SparkSession, settings: Settings, batch: EventBatch, offset: int) -> DataFrame:
    """As rows of bronze.events."""
    offsets = range(offset, offset + len(batch))
    rows = frame_of_table(spark, pa.table({"key": batch.keys(), "value": batch.json_values(), "offset": offsets}))
    values = {
        "topic": F.lit(settings.events_topic),
        "partition": F.lit(0),
        "kafka_at": F.lit(_KAFKA_AT),
        "ingested_at": F.lit(_KAFKA_AT),
        "ingested_on": F.to_date(F.lit(_KAFKA_AT)),
    }
    given = {name: F.col(name) for name in rows.columns} | values
    return rows.select(
        *(given.get(each.name, F.lit(None)).cast(each.dataType).alias(each.name) for each in BRONZE_EVENTS.fields)
    )


def text(result: dict[str, Any]) -> str:
    """The result for people."""
    lines = [f"{result['events']:,} events, {result['sessions']:,} sessions"]
    for way, seconds in result["seconds"].items():
        lines.append(f"  {way:<6} {seconds:>7.1f} s, {result['events_per_s'][way]:,} events/s")
    lines.append(f"load average: {result['load_average_before'][0]} before, {result['load_average_after'][0]} after")
    return "\n".join(lines)


def bench_backlog(
    settings: Settings,
    show: Say,
    events: Annotated[int, typer.Option(help="of the backlog")] = EVENTS,
    as_json: AsJson = False,
    keep_at: Keep = None,
) -> int:
    """The rows of both ways are compared."""
    result = recorded(measure(settings, events), datetime.now(UTC))
    if keep_at:
        keep(result, keep_at)
    show(json.dumps(result, indent=2) if as_json else text(result))
    return 0


if __name__ == "__main__":
    sys.exit(run_alone(bench_backlog, TOOLS))
