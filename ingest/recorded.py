"""CSV files of store events as one stream in the order of time, played at a pace of its own.

Each file is read row by row as the stream goes on, so memory does not grow with the files.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ingest.csv_records import CsvRecord, csv_records
from ingest.csv_rows import MOST_BROKEN_SHARE
from ingest.event_time import read_time
from ingest.producer import RecordProducer, send_unreadable
from lakehouse.errors import InputError

BLOCK_ROWS = 1_000


@dataclass(frozen=True)
class RecordedRow:
    """A row of a file. `at`: its event_time in UTC; None where that cannot be read."""

    path: Path
    record: CsvRecord
    at: datetime | None


Timed = tuple[float, RecordedRow]
"""The moment at which a row is due, in seconds since 1970, and the row."""


def check_files(files: Sequence[Path]) -> None:
    """:raises InputError: one that cannot be read."""
    for path in files:
        try:
            path.open("rb").close()
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}.", "a CSV file that can be read", "correct the path") from None


def in_order(files: Sequence[Path], most_broken: float = MOST_BROKEN_SHARE) -> Iterator[RecordedRow]:
    """All rows of all files, merged by event_time; rows of one moment in the order of the files.

    The rows of one file keep their order. A row without a time goes right behind the row before it in its file; one
    that is earlier than the row before it cannot come sooner than right behind it either.

    :param most_broken: see `open_csv`.
    """
    streams = [_rows(path, most_broken) for path in files]
    heap: list[tuple[float, int, RecordedRow]] = []
    for number, rows in enumerate(streams):
        row = next(rows, None)
        if row is not None:
            heap.append((row.at.timestamp() if row.at else -math.inf, number, row))
    heapq.heapify(heap)
    while heap:
        _, number, row = heap[0]
        yield row
        ahead = next(streams[number], None)
        while ahead is not None and ahead.at is None:
            yield ahead
            ahead = next(streams[number], None)
        if ahead is None or ahead.at is None:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (ahead.at.timestamp(), number, ahead))


def at_rate(rows: Iterable[RecordedRow], start_s: float, rate_per_s: float) -> Iterator[Timed]:
    """Rows evenly spaced, so many a second, from `start_s` on."""
    return ((start_s + number / rate_per_s, row) for number, row in enumerate(rows))


def at_speed(rows: Iterable[RecordedRow], start_s: float, speed: float) -> Iterator[Timed]:
    """Rows so many times as fast as they were recorded; the first that has a time is due at `start_s`.

    One without a time, or earlier than the row before it, is due with that one.
    """
    first_s, due_s = None, start_s
    for row in rows:
        if row.at is not None:
            at_s = row.at.timestamp()
            first_s = at_s if first_s is None else first_s
            due_s = max(due_s, start_s + (at_s - first_s) / speed)
        yield due_s, row


@dataclass(frozen=True)
class RecordedBlock:
    """Rows of files with their moments.

    :param unreadable_topic: where rows go that cannot be read.
    :param is_live: each readable row with a time says its moment instead of its event_time.
    """

    rows: Sequence[RecordedRow]
    due_s: npt.NDArray[np.float64]
    events_topic: str
    unreadable_topic: str
    is_live: bool

    def send(self, producer: RecordProducer, first: int, last: int) -> int:
        good = [n for n in range(first, last) if not self.rows[n].record.reason]
        values = [self._value(n) for n in good]
        producer.send_batch(self.events_topic, [self.rows[n].record.key for n in good], values)
        bad = [row for row in self.rows[first:last] if row.record.reason]
        for row in bad:
            send_unreadable(producer, self.unreadable_topic, row.path.name, row.record)
        return len(bad)

    def at(self, row: int) -> datetime | None:
        return self.rows[row].at

    def _value(self, number: int) -> bytes:
        row = self.rows[number]
        # A time that cannot be read stays as it is: mended here, silver would never see that the record is bad.
        if not self.is_live or row.at is None:
            return row.record.value
        event = json.loads(row.record.value)
        return _json(event | {"event_time": time_text(float(self.due_s[number]))})


def recorded(
    timed: Iterator[Timed], events_topic: str, unreadable_topic: str, is_live: bool
) -> Iterator[RecordedBlock]:
    """The rows in blocks; a block is read when it is asked for."""
    while block := list(islice(timed, BLOCK_ROWS)):
        due_s = np.array([due_s for due_s, _ in block], np.float64)
        yield RecordedBlock([row for _, row in block], due_s, events_topic, unreadable_topic, is_live)


def time_text(at_s: float) -> str:
    """Seconds since 1970 as an event_time. With microseconds: at a high speed a whole recorded minute is due within one
    millisecond, and rows that differ only in their time would be taken for copies of each other."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S.%f UTC")


def _rows(path: Path, most_broken: float) -> Iterator[RecordedRow]:
    for record in csv_records(path, most_broken):
        at = None if record.reason else read_time(json.loads(record.value)["event_time"])
        yield RecordedRow(path, record, at)


def _json(event: dict[str, str]) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
