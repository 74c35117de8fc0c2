"""How fast files go into Kafka: the file source, and the same rows through plain kafka-python sends, in one run.

Each is a process of its own, held to one core, after a warm-up of its own; the broker has the others. The source reads
a CSV file, makes JSON of it and sends that in transactions with its position; the yardstick has keys and values in
memory and sends them without. What arrived is counted by a reader of committed records.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from kafka import KafkaProducer

from bench.latency import say_on_stderr
from bench.testbed import fresh_stack
from ingest.archive import Archive
from ingest.committed import committed_records
from ingest.csv_files import write_csv_files
from ingest.csv_records import csv_records
from ingest.file_source import FileSource, Sent
from ingest.generate import history
from ingest.input_folder import input_folder
from ingest.shape import StoreShape
from lakehouse.command import AsJson, run_alone
from lakehouse.errors import ServiceError
from lakehouse.kafka_access import for_kafka_python
from lakehouse.settings import Settings
from operate.supervisor import Say

WARM_UP_ROWS = 20_000
_START_AT = datetime(2020, 1, 6, tzinfo=UTC)
_TIMEOUT_S = 900.0


def bench_ingest(
    settings: Settings,
    show: Say,
    rows: Annotated[int, typer.Option(metavar="N", help="about so many; the generator's of one day")] = 300_000,
    as_json: AsJson = False,
) -> int:
    """Each on a fresh broker."""
    load = os.getloadavg()[0]
    measured = {name: _on_a_fresh_broker(name, rows, settings) for name in ("yardstick", "source")}
    source, yardstick = measured["source"], measured["yardstick"]
    facts = {
        "rows": source["rows"],
        "rows_per_s": source["rows_per_s"],
        "yardstick_rows_per_s": yardstick["rows_per_s"],
        "ratio": round(source["rows_per_s"] / yardstick["rows_per_s"], 1),
        "cpu_s": source["cpu_s"],
        "yardstick_cpu_s": yardstick["cpu_s"],
        "peak_memory_mb": source["peak_memory_mb"],
        "load_average_before": round(load, 2),
        "load_average_after": round(os.getloadavg()[0], 2),
    }
    show(json.dumps(facts, indent=2) if as_json else text(facts))
    return 0


def text(facts: dict[str, Any]) -> str:
    """The result for people."""
    return "\n".join(
        [
            f"the file source, {facts['rows']:,} rows on one core: {facts['rows_per_s']:,} rows/s, "
            f"{facts['cpu_s']} s of CPU, {facts['peak_memory_mb']} MB",
            f"the same rows through kafka-python: {facts['yardstick_rows_per_s']:,} rows/s, "
            f"{facts['yardstick_cpu_s']} s of CPU",
            f"ratio {facts['ratio']}; load average {facts['load_average_before']} before, "
            f"{facts['load_average_after']} after",
        ]
    )


def _made(folder: Path, day: datetime, rows: int) -> Path:
    (path,) = write_csv_files(history(StoreShape(), 1, day, 1, rows / 86_400), folder, "day")
    return path


def _on_a_fresh_broker(name: str, rows: int, settings: Settings) -> dict[str, Any]:
    with fresh_stack(settings, say_on_stderr) as stack:
        own = stack.settings
        say_on_stderr(f"making {rows:,} rows for the {name}")
        warm_up = _made(own.home / "made", _START_AT, WARM_UP_ROWS)
        files = (warm_up, _made(own.home / "made", _START_AT + timedelta(days=1), rows))
        say_on_stderr(f"measuring the {name}")
        measured = _in_a_process(name, files, own)
        arrived = sum(1 for _ in committed_records(own, own.events_topic, own.topic_partitions))
    if arrived != measured["sent"]:
        raise ServiceError(f"{arrived:,} rows of the {name} arrived.", f"{measured['sent']:,}, each once")
    return measured


def _in_a_process(name: str, files: Sequence[Path], settings: Settings) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.files", name, *map(str, files)]
    environment = os.environ | settings.as_environment()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, timeout=_TIMEOUT_S, text=True, check=False)
    if done.returncode:
        raise ServiceError(f"The {name} ended with code {done.returncode}.", "", "see above")
    return dict(json.loads(done.stdout))


def _measure(name: str, warm_up: Path, measured: Path, settings: Settings) -> dict[str, Any]:
    """Sends both files from this process, held to one core. Out: how the second went."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    send = _yardstick(settings) if name == "yardstick" else _source(settings)
    warm_up_rows, _, _ = send(warm_up)
    rows, took_s, cpu_s = send(measured)
    return {
        "rows": rows,
        "sent": rows + warm_up_rows,
        "rows_per_s": round(rows / took_s),
        "cpu_s": round(cpu_s, 2),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


Sender = Callable[[Path], tuple[int, float, float]]
"""Sends a file. Out: rows, seconds, seconds of CPU."""


def _source(settings: Settings) -> Sender:
    """From the look at the folder until the last row is committed; its compressing for the archive is not in it."""
    latest = [(Sent(), 0.0, 0.0)]

    def note(sent: Sent) -> None:
        latest[0] = (sent, time.monotonic(), time.process_time())

    def send(path: Path) -> tuple[int, float, float]:
        before = latest[0][0].rows
        path.rename(settings.input_path / path.name)
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        source.run(once=True)
        sent, ended_s, ended_cpu_s = latest[0]
        return sent.rows - before, ended_s - began_s, ended_cpu_s - began_cpu_s

    folder = input_folder(settings.model_copy(update={"file_settle_s": 0.0}), say_on_stderr)
    source = FileSource(folder, Archive(settings.archive_path), settings, on_progress=note)
    return send


def _yardstick(settings: Settings) -> Sender:
    """As a good example has it: all acknowledgements, a little company for each record, a flush at the end."""
    producer = KafkaProducer(**for_kafka_python(settings), acks="all", linger_ms=20)

    def send(path: Path) -> tuple[int, float, float]:
        records = [(record.key, record.value) for record in csv_records(path)]
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        for key, value in records:
            producer.send(settings.events_topic, key=key, value=value)
        producer.flush()
        return len(records), time.monotonic() - began_s, time.process_time() - began_cpu_s

    return send


def measure_one(
    settings: Settings,
    name: Annotated[str, typer.Argument()],
    warm_up: Annotated[Path, typer.Argument()],
    measured: Annotated[Path, typer.Argument()],
) -> int:
    """One of the two measurements, for the process that compares them."""
    print(json.dumps(_measure(name, warm_up, measured, settings)))
    return 0


if __name__ == "__main__":
    sys.exit(run_alone(measure_one))
