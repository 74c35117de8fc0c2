"""Rows of a CSV file as records for Kafka."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ingest.csv_rows import MOST_BROKEN_SHARE, MOST_ROW_BYTES, START_OF_ROW_BYTES, CsvRow, open_csv


@dataclass(frozen=True, slots=True)
class CsvRecord:
    """What Kafka gets of a row.

    :param key: the user_id as text; None where there is none.
    :param value: a JSON object of the columns, all text as in the file; an unreadable row's own bytes, at most the
        first `START_OF_ROW_BYTES`.
    :param reason: why it is unreadable; empty for a row that is not.
    :param sha256: of the whole row, in hex, where the value is only its beginning.
    """

    row: CsvRow
    key: bytes | None
    value: bytes
    reason: str = ""
    sha256: str = ""

    @property
    def line(self) -> int:
        return self.row.line


class Recorder:
    """Makes records of the rows of a file with these columns (`CsvFile.columns`)."""

    def __init__(self, columns: tuple[str, ...]) -> None:
        self._columns, self._user = columns, columns.index("user_id")
        self._is_whole = all(columns)
        names = (json.dumps(name, ensure_ascii=False).replace("%", "%%") for name in columns if name)
        self._form = ("{" + ",".join(f'{name}:"%s"' for name in names) + "}").encode()

    def record(self, row: CsvRow) -> CsvRecord:
        if row.reason:
            return _unreadable(row, row.reason)
        value = self._json(row)
        if len(value) > MOST_ROW_BYTES:
            return _unreadable(row, f"{row.size} bytes: too large for the topic")
        return CsvRecord(row, row.fields[self._user] or None, value)

    def _json(self, row: CsvRow) -> bytes:
        if row.is_plain:
            if self._is_whole:
                return self._form % tuple(row.fields)
            return self._form % tuple(each for each, name in zip(row.fields, self._columns, strict=True) if name)
        texts = (field.decode() for field in row.fields)
        event = {name: text for name, text in zip(self._columns, texts, strict=True) if name}
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def csv_records(path: Path, most_broken: float = MOST_BROKEN_SHARE) -> Iterator[CsvRecord]:
    """All rows of a file, one record each.

    :param most_broken: see `open_csv`.
    :raises InputError: it cannot be read to its end, or is no file of events.
    """
    with open_csv(path, most_broken) as file:
        recorder = Recorder(file.columns)
        for row in file.rows():
            yield recorder.record(row)


def _unreadable(row: CsvRow, reason: str) -> CsvRecord:
    is_cut = row.size > START_OF_ROW_BYTES
    sha256 = (row.sha256 or hashlib.sha256(row.raw).hexdigest()) if is_cut else ""
    return CsvRecord(row, None, row.raw[:START_OF_ROW_BYTES], reason, sha256)
