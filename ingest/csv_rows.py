"""A CSV file as records for Kafka, row by row, without judging what the rows say."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ingest.event_batch import COLUMNS

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class CsvRecord:
    """One row of a file.

    :param key: the user_id as text; None where there is none.
    :param value: a JSON object of the nine columns, all text as in the file; an unreadable row's own bytes.
    :param line: number of the row's first line in the file, from 1.
    :param next_byte: where the next row begins.
    :param next_line: its number.
    :param reason: why the row cannot be read; empty for a row that can.
    """

    key: bytes | None
    value: bytes
    line: int
    next_byte: int
    next_line: int
    reason: str = ""


def csv_rows(path: Path, from_byte: int = 0, from_line: int = 1) -> Iterator[CsvRecord]:
    """The rows of a file from a row's beginning on; one record per row, also for a row that cannot be read.

    A header, if there is one, and empty lines are passed over. Columns are in the order of the header.
    """
    with path.open("rb") as file:
        columns, header_end = _columns(file)
        lines = _Lines(file, max(from_byte, header_end), max(from_line, 2 if header_end else 1))
        reader = csv.reader(lines)
        while True:
            lines.raw.clear()
            line, reason, fields = lines.next_line, "", []
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                reason = f"not CSV: {error}"
            if not fields and not reason:
                continue
            raw = b"".join(lines.raw)
            if not reason and len(fields) != len(columns):
                reason = f"{len(fields)} columns instead of {len(columns)}"
            if not raw.isascii() and not _is_utf8(raw):
                reason = "not UTF-8"
            if reason:
                yield CsvRecord(None, raw, line, lines.next_byte, lines.next_line, reason)
            else:
                event = dict(zip(columns, fields, strict=True))
                value = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
                yield CsvRecord(event["user_id"].encode() or None, value, line, lines.next_byte, lines.next_line)


class _Lines:
    """Lines of a file as text, counting bytes and lines; `raw` gathers the bytes of the row that is being read."""

    def __init__(self, file: BinaryIO, next_byte: int, next_line: int) -> None:
        file.seek(next_byte)
        self.file, self.next_byte, self.next_line, self.raw = file, next_byte, next_line, list[bytes]()

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.file.readline()
        if not line:
            raise StopIteration
        self.raw.append(line)
        self.next_byte += len(line)
        self.next_line += 1
        return line.decode("utf-8", errors="replace")


def _columns(file: BinaryIO) -> tuple[tuple[str, ...], int]:
    """The names of the columns, and where the first row begins."""
    mark = len(BYTE_ORDER_MARK) if file.read(3) == BYTE_ORDER_MARK else 0
    file.seek(mark)
    first = file.readline()
    names = tuple(first.decode("utf-8", errors="replace").strip().split(","))
    return (names, mark + len(first)) if sorted(names) == sorted(COLUMNS) else (COLUMNS, mark)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
