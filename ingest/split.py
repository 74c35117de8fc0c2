"""CSV files of months into one file per UTC day, each row as it was.

No file is seen before all are whole: they are written under hidden names and renamed at the end. A row whose day
cannot be read goes where the row before it went, for the source to judge. Memory is bounded however long the input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ingest.console import Progress, printable, stop_on_signals
from ingest.csv_rows import MOST_BROKEN_SHARE, MOST_ROW_BYTES, CsvFile, CsvRow, open_csv
from ingest.event_batch import HEADER
from ingest.event_time import utc_day
from lakehouse.errors import InputError, LakehouseError
from lakehouse.event_contract import FIELDS
from lakehouse.settings import Settings

GATHERED_BYTES = 32 * 1024 * 1024
LOOK_EVERY_ROWS = 20_000


@dataclass(frozen=True)
class Split:
    """How far a split is. :param share: of all input bytes, from 0 to 1."""

    rows: int
    share: float
    name: str


class SplitBar:
    """Shows how far a split is, and knows how many rows it has had."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self.rows = progress, 0

    def __call__(self, done: Split) -> None:
        self.rows = done.rows
        self._progress.bar(done.share, f"{done.rows:,} rows, {done.name}")


def split(
    files: Sequence[Path],
    out: Path,
    replace: bool = False,
    on_progress: Callable[[Split], None] = lambda split: None,
    should_stop: Callable[[], bool] = lambda: False,
    most_broken: float = MOST_BROKEN_SHARE,
) -> list[Path]:
    """Rows of CSV files, plain or packed -> a file per UTC day with a header, rows in the order of the input.

    Files with other columns, or in another order, have days of their own: `2019-10-01.2.csv`. Out: the files by name;
    none when somebody said stop.

    :param replace: files of days that are there already.
    :param most_broken: see `open_csv`.
    :raises InputError: a file cannot be read, a day is there already, or the folder cannot be written. No day is seen.
    """
    days = _Days(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        rows = _split(files, days, on_progress, should_stop, most_broken)
        if rows is None:
            return []
        days.flush()
        there = [path for path in days.paths() if path.exists()]
        if there and not replace:
            raise InputError(
                f"{there[0]} is there already.", "a folder without these days", "choose another one, or --replace"
            )
        return days.complete()
    except OSError as error:
        raise InputError(
            f"{error.filename or out}: {error.strerror}.", "a folder that can be written, with room for all days"
        ) from None
    finally:
        days.drop_parts()


def _split(
    files: Sequence[Path],
    days: _Days,
    on_progress: Callable[[Split], None],
    should_stop: Callable[[], bool],
    most_broken: float,
) -> int | None:
    sizes = [path.stat().st_size if path.exists() else 0 for path in files]
    rows, read, total = 0, 0, max(1, sum(sizes))
    for path, size in zip(files, sizes, strict=True):
        with open_csv(path, most_broken) as file:
            day, at, header = "", file.columns.index("event_time"), _header(file)
            for row in file.rows():
                if len(row.fields) > at:
                    day = utc_day(row.fields[at]) or day
                days.add(day or days.first or "undated", header, _ended(row, path))
                rows += 1
                if rows % LOOK_EVERY_ROWS == 0:
                    share = (read + min(size, file.bytes_read())) / total
                    on_progress(Split(rows, share, printable(path.name)))
                    if should_stop():
                        return None
        read += size
        on_progress(Split(rows, read / total, printable(path.name)))
    return rows


def _header(file: CsvFile) -> bytes:
    """Of the files of its days: ours where that says the same."""
    is_ours = file.columns == FIELDS and file.separator == ","
    return HEADER if is_ours else file.header or file.separator.join(FIELDS).encode() + b"\n"


def _ended(row: CsvRow, path: Path) -> bytes:
    if row.size > MOST_ROW_BYTES:
        raise InputError(
            f"{printable(path.name)} line {row.line}: {row.reason}.",
            f"rows of at most {MOST_ROW_BYTES} bytes",
            "drop the file itself into the input folder: such a row is then set aside in full",
        )
    return row.raw if row.raw.endswith(b"\n") else row.raw + b"\n"


class _Days:
    """The files in the making. Rows are gathered, and appended to their files when they are many."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self._numbers: dict[bytes, int] = {HEADER: 1}
        self._headers: dict[str, bytes] = {}
        self._gathered: dict[str, list[bytes]] = {}
        self._begun: set[str] = set()
        self._bytes = 0
        self.first = ""

    def add(self, day: str, header: bytes, raw: bytes) -> None:
        number = self._numbers.setdefault(header, len(self._numbers) + 1)
        name = f"{day}.csv" if number == 1 else f"{day}.{number}.csv"
        self.first = self.first or day
        if name not in self._gathered:
            self._gathered[name] = []
            self._headers.setdefault(name, header)
        self._gathered[name].append(raw)
        self._bytes += len(raw)
        if self._bytes > GATHERED_BYTES:
            self.flush()

    def flush(self) -> None:
        for name, rows in self._gathered.items():
            is_new = name not in self._begun
            self._begun.add(name)
            with self._part(name).open("wb" if is_new else "ab") as out:
                out.write((self._headers[name] if is_new else b"") + b"".join(rows))
        self._gathered.clear()
        self._bytes = 0

    def paths(self) -> list[Path]:
        return [self._out / name for name in sorted(self._begun)]

    def complete(self) -> list[Path]:
        for path in self.paths():
            self._part(path.name).replace(path)
        return self.paths()

    def drop_parts(self) -> None:
        """What is not complete is not left behind."""
        for name in self._begun:
            self._part(name).unlink(missing_ok=True)

    def _part(self, name: str) -> Path:
        return self._out / f".{name}.part"


def split_files(
    settings: Settings,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="CSV file, plain or packed, or Parquet")],
    out: Annotated[Path, typer.Option(help="folder of the files of days")],
    replace: Annotated[bool, typer.Option("--replace", help="days that are there already")] = False,
) -> int:
    """Each row as it was. No file is seen before all are whole. A row whose day cannot be read goes where the row
    before it went, for the source to judge. Exit code 0 when all is split; 1 when it failed or somebody stopped it.
    """
    progress, should_stop = Progress(), stop_on_signals()
    bar = SplitBar(progress)
    try:
        days = split(files, out, replace, bar, should_stop, settings.max_unreadable_share)
    except LakehouseError as error:
        return progress.fail(error)
    if should_stop():
        progress.say("stopped; nothing is written")
        return 1
    progress.say(f"{bar.rows:,} rows in {len(days)} files in {out}")
    return 0
