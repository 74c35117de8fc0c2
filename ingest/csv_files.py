"""A synthetic history as CSV files with the nine columns and a header, one a day or a month."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ingest.console import Progress, stop_on_signals
from ingest.event_batch import HEADER, EventBatch
from ingest.generate import history
from ingest.shape import StoreShape
from lakehouse.errors import InputError, LakehouseError

NAMES = {"day": "%Y-%m-%d.csv", "month": "%Y-%b.csv"}


def write_csv_files(
    batches: Iterator[EventBatch],
    out: Path,
    per: str = "month",
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[int, Path], None] = lambda rows, path: None,
) -> list[Path]:
    """Events in the order of time -> complete files, in the order of time; a file that is there is replaced.

    A file has the name of its day or month once it is complete, and `.part` behind it until then.
    """
    out.mkdir(parents=True, exist_ok=True)
    files: list[Path] = []
    rows = 0
    for batch in batches:
        for day, part in _by_day(batch):
            path = out / day.strftime(NAMES[per])
            is_new = not files or files[-1] != path
            if is_new:
                _complete(files[-1:])
                files.append(path)
            with _part(path).open("wb" if is_new else "ab") as file:
                file.write((HEADER if is_new else b"") + part.to_csv())
            rows += len(part)
            on_progress(rows, path)
        if should_stop():
            return files[:-1]
    _complete(files[-1:])
    return files


def _by_day(batch: EventBatch) -> Iterator[tuple[datetime, EventBatch]]:
    days, first = np.unique(batch.seconds // 86_400, return_index=True)
    edges = [*first.tolist(), len(batch)]
    for place, day in enumerate(days.tolist()):
        yield datetime.fromtimestamp(day * 86_400, UTC), batch.part(edges[place], edges[place + 1])


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _complete(paths: Sequence[Path]) -> None:
    for path in paths:
        _part(path).replace(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit code 0 when all is written; 1 when somebody stopped it half way."""
    parser = argparse.ArgumentParser(prog="lakehouse ingest generate", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the files")
    parser.add_argument("--days", type=float, default=31.0, help="length of the history (default 31)")
    parser.add_argument("--start", default="2019-10-01", help="first day, UTC (default 2019-10-01)")
    parser.add_argument("--seed", type=int, default=1, help="with the start, decides the events (default 1)")
    parser.add_argument("--rate", type=float, help="mean events a second (default 1.58, as the real store)")
    parser.add_argument(
        "--per", choices=sorted(NAMES), default="month", help="one file a day or a month (default month)"
    )
    given = parser.parse_args(arguments)
    progress, should_stop = Progress(), stop_on_signals()
    try:
        batches = history(StoreShape(), given.seed, _midnight(given.start), given.days, given.rate)
        files = write_csv_files(
            batches, given.out, given.per, should_stop, lambda rows, path: progress.show(f"{rows:,} rows, {path.name}")
        )
    except LakehouseError as error:
        return progress.fail(error)
    stopped = should_stop()
    progress.say(f"{len(files)} files in {given.out}" + ("; stopped, the last one is not complete" if stopped else ""))
    return 1 if stopped else 0


def _midnight(day: str) -> datetime:
    try:
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise InputError(f"--start {day!r}.", "a day such as 2019-10-01", "correct the command") from None
