"""A synthetic history as CSV files with the nine columns and a header, one a day or a month."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

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


def generate_files(
    out: Annotated[Path, typer.Option(help="folder of the files")],
    days: Annotated[float, typer.Option(help="length of the history")] = 31.0,
    start: Annotated[str, typer.Option(help="first day, UTC")] = "2019-10-01",
    seed: Annotated[int, typer.Option(help="with the start, decides the events")] = 1,
    rate: Annotated[float | None, typer.Option(help="mean events a second (1.58, as the real store)")] = None,
    per: Annotated[Literal["day", "month"], typer.Option(help="one file a day or a month")] = "month",
) -> int:
    """With the nine columns and a header. Exit code 0 when all is written; 1 when somebody stopped it half way."""
    progress, should_stop = Progress(), stop_on_signals()
    try:
        batches = history(StoreShape(), seed, _midnight(start), days, rate)
        files = write_csv_files(
            batches, out, per, should_stop, lambda rows, path: progress.show(f"{rows:,} rows, {path.name}")
        )
    except LakehouseError as error:
        return progress.fail(error)
    stopped = should_stop()
    progress.say(f"{len(files)} files in {out}" + ("; stopped, the last one is not complete" if stopped else ""))
    return 1 if stopped else 0


def _midnight(day: str) -> datetime:
    try:
        return datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise InputError(f"--start {day!r}.", "a day such as 2019-10-01", "correct the command") from None
