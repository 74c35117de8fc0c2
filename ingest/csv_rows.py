"""A CSV file of store events, row by row, without judging what the rows say.

A row is broken when it is not nine columns, not UTF-8 or not CSV (RFC 4180); it keeps its bytes and stops nothing. A
quoted field may run over lines. When that does not end in a good row the first line alone is broken, and reading goes
on with the line after it, so that one stray quote does not take its neighbours with it.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from ingest.event_batch import COLUMNS
from lakehouse.errors import InputError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MOST_ROW_BYTES = 8 * 1024 * 1024 - 65_536  # the topic takes 8 MiB, its headers included
MOST_ROW_LINES = 100
START_OF_ROW_BYTES = 65_536
_GZIP_MARK = b"\x1f\x8b"
_LOOKED_AT_BYTES, _PIECE_BYTES = 65_536, 1 << 20
# What JSON has as it is: a row of these only needs no parser of CSV and no escapes.
_PLAIN = bytes(set(range(0x20, 0x100)) - set(b'"\\\x7f'))

csv.field_size_limit(2 * MOST_ROW_BYTES)

T = TypeVar("T")


class CsvRow(NamedTuple):
    """One row of a file.

    :param raw: its bytes, line feed included; only the beginning when they are more than `MOST_ROW_BYTES`.
    :param fields: as UTF-8, in the order of the file's columns; those of a broken row mean nothing.
    :param reason: why it is broken; empty for a row that is not.
    :param is_plain: nothing in it needs quotes in CSV or escapes in JSON.
    :param byte: where it begins, and `line` the number of its first line, from 1; `next_`: the same of the next row.
    """

    raw: bytes
    fields: list[bytes]
    reason: str
    is_plain: bool
    byte: int
    line: int
    next_byte: int
    next_line: int

    @property
    def size(self) -> int:
        """In bytes, all of it."""
        return self.next_byte - self.byte


class CsvFile:
    """An open file, plain or gzip. Positions are bytes and lines of what is in it, not of its compressed form.

    :param columns: in the order of the header, or COLUMNS where there is no header.
    :raises InputError: it cannot be read, or is not text.
    """

    def __init__(self, path: Path, opened: BinaryIO) -> None:
        self.path = path
        mark = opened.read(len(_GZIP_MARK))
        opened.seek(0)
        self._file: BinaryIO = gzip.GzipFile(fileobj=opened) if mark == _GZIP_MARK else opened  # type: ignore[assignment]
        self._opened = opened
        self._ahead = deque[bytes]()
        start = self._call(self._file.read, _LOOKED_AT_BYTES)
        if b"\0" in start:
            raise self._unreadable(f"a zero byte at byte {start.index(0)}: this is no text")
        begin = len(BYTE_ORDER_MARK) if start.startswith(BYTE_ORDER_MARK) else 0
        first = start[begin:].split(b"\n", 1)[0] + b"\n"
        names = tuple(first.decode("utf-8", errors="replace").strip().replace('"', "").split(","))
        is_header = sorted(names) == sorted(COLUMNS)
        self.columns = names if is_header else COLUMNS
        self._first_row = (min(begin + len(first), len(start)), 2) if is_header else (begin, 1)

    def rows(self, from_byte: int = 0, from_line: int = 1) -> Iterator[CsvRow]:
        """The rows from a row's beginning on. Empty lines are passed over.

        :raises InputError: it cannot be read to its end; what was yielded before is right.
        """
        byte, line = max((from_byte, from_line), self._first_row)
        self._ahead.clear()
        self._call(self._file.seek, byte)
        while first := self._line():
            row = self._row(first, byte, line)
            byte, line = row.next_byte, row.next_line
            if first not in (b"\n", b"\r\n"):
                yield row

    def bytes_read(self) -> int:
        """Of the file as it is on disk."""
        return self._opened.tell()

    def pieces(self, first: int, end: int) -> Iterator[bytes]:
        """The bytes between two positions, piece by piece."""
        self._call(self._file.seek, first)
        while first < end and (piece := self._call(self._file.read, min(end - first, _PIECE_BYTES))):
            first += len(piece)
            yield piece

    def _row(self, first: bytes, byte: int, line: int) -> CsvRow:
        if len(first) > MOST_ROW_BYTES:
            size = self._pass_over(first)
            return CsvRow(
                first[:START_OF_ROW_BYTES],
                [],
                f"{size} bytes: too large for the topic",
                False,
                byte,
                line,
                byte + size,
                line + 1,
            )
        reason, rest = "", list[bytes]()
        leftover = first.translate(None, _PLAIN)
        is_plain = leftover in (b"\n", b"") or (leftover == b"\r\n" and first.endswith(b"\r\n"))
        if b'"' in leftover:
            fields, reason, rest = self._quoted(first)
        else:
            fields = first.removesuffix(b"\n").removesuffix(b"\r").split(b",")
        if not reason and len(fields) != len(self.columns):
            reason = f"{len(fields)} columns instead of {len(self.columns)}"
        if reason and rest:
            self._ahead.extendleft(reversed(rest))
            rest = []
        raw = b"".join([first, *rest]) if rest else first
        if not raw.isascii() and not _is_utf8(raw):
            reason = "not UTF-8"
        return CsvRow(raw, fields, reason, is_plain, byte, line, byte + len(raw), line + 1 + len(rest))

    def _quoted(self, first: bytes) -> tuple[list[bytes], str, list[bytes]]:
        """Fields of a row with quotes, why it is no CSV, and its lines behind the first."""
        rest: list[bytes] = []

        def lines() -> Iterator[str]:
            yield first.decode("latin-1")  # bytes as they are, one character each
            size = len(first)
            while len(rest) < MOST_ROW_LINES - 1 and (line := self._line()):
                rest.append(line)
                size += len(line)
                if size > MOST_ROW_BYTES:
                    return
                yield line.decode("latin-1")

        try:
            fields = next(csv.reader(lines(), strict=True))
        except csv.Error as error:
            is_open = "unexpected end of data" in str(error)
            return [], f"not CSV: {'a quote that is not closed' if is_open else error}", rest
        return [field.encode("latin-1") for field in fields], "", rest

    def _pass_over(self, start: bytes) -> int:
        """Reads on to the end of a line of any length. Out: the line's length in bytes."""
        size = len(start)
        while not start.endswith(b"\n") and (start := self._line()):
            size += len(start)
        return size

    def _line(self) -> bytes:
        if self._ahead:
            return self._ahead.popleft()
        return self._call(self._file.readline, MOST_ROW_BYTES + 1)

    def _call(self, read: Callable[[int], T], size: int) -> T:
        try:
            return read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise self._unreadable(getattr(error, "strerror", None) or str(error)) from None

    def _unreadable(self, why: str) -> InputError:
        return InputError(f"{self.path.name}: {why}.", "a CSV file that can be read to its end")


@contextmanager
def open_csv(path: Path) -> Iterator[CsvFile]:
    """:raises InputError: it cannot be read, or is not text."""
    try:
        opened = path.open("rb", buffering=1 << 20)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.", "a CSV file that can be read", "correct the path") from None
    with opened:
        yield CsvFile(path, opened)


def copy_bytes(path: Path, first: int, end: int, out: BinaryIO) -> None:
    """Writes a part of a file, plain or gzip, of any length.

    :raises InputError: it cannot be read.
    """
    with open_csv(path) as file:
        for piece in file.pieces(first, end):
            out.write(piece)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
