"""A CSV file of store events, row by row, without judging what the rows say.

A row is broken when it has not the file's columns, is not UTF-8 or not CSV (RFC 4180); it keeps its bytes and stops
nothing, unless too many of a file's first rows are broken: then it is no file of ours, or in another encoding. A quoted
field may run over lines. When that does not end in a good row the first line alone is broken, and reading goes
on with the line after it, so that one stray quote does not take its neighbours with it.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import lzma
import math
import os
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

from ingest.csv_header import layout_of
from ingest.unpacked import unpacked
from lakehouse.errors import InputError

MOST_ROW_BYTES = 8 * 1024 * 1024 - 65_536  # the topic takes 8 MiB, its headers included
MOST_ROW_LINES = 100
START_OF_ROW_BYTES = 65_536
LOOKED_AT_ROWS, FEW_BROKEN_ROWS, MOST_BROKEN_SHARE = 1_000, 10, 0.1
"""A file is refused when of its first rows none is good, or more than a few and more than a share are broken; this one
unless another is asked for.
"""
MOST_UNPACKED, MOST_UNPACKED_BYTES = 100, 16 * 1024 * 1024
"""A packed file holds so many times its bytes, and these: store events hold six to ten times. Beyond it is a bomb."""
_LOOKED_AT_BYTES = 65_536
# What JSON has as it is: a row of these only needs no parser of CSV and no escapes.
_PLAIN = bytes(set(range(0x20, 0x100)) - set(b'"\\\x7f'))

csv.field_size_limit(2 * MOST_ROW_BYTES)

A = TypeVar("A")
T = TypeVar("T")


class CsvRow(NamedTuple):
    """One row of a file.

    :param raw: its bytes, line feed included; only the beginning when they are more than `MOST_ROW_BYTES`.
    :param fields: as UTF-8, in the order of the file's columns; those of a broken row mean nothing.
    :param reason: why it is broken; empty for a row that is not.
    :param is_plain: nothing in it needs quotes in CSV or escapes in JSON.
    :param byte: where it begins, and `line` the number of its first line, from 1; `next_`: the same of the next row.
    :param sha256: of the whole row, in hex, where `raw` is only its beginning.
    """

    raw: bytes
    fields: list[bytes]
    reason: str
    is_plain: bool
    byte: int
    line: int
    next_byte: int
    next_line: int
    sha256: str = ""

    @property
    def size(self) -> int:
        """In bytes, all of it."""
        return self.next_byte - self.byte


class CsvFile:
    """An open file, plain or packed. Positions are bytes and lines of the CSV that is in it (ingest/unpacked.py).

    :param name: of the file, for errors.
    :param most_broken: the share of its first rows that may be broken.
    :param columns: in the file's order, ours by our names; empty is one without a name (`layout_of`).
    :param header: its line, line feed included; empty where there is none.
    :raises InputError: it cannot be read, is not text, has no header of ours, or too many broken rows.
    """

    def __init__(self, name: str, opened: BinaryIO, most_broken: float = MOST_BROKEN_SHARE) -> None:
        self._name, self._most_broken = name, most_broken
        self._file = self._call(unpacked, opened)
        self._opened = opened
        size = os.fstat(opened.fileno()).st_size
        self._most_bytes = math.inf if self._file is opened else MOST_UNPACKED * size + MOST_UNPACKED_BYTES
        self._ahead = deque[bytes]()
        start = self._call(self._file.read, _LOOKED_AT_BYTES)
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise self._unreadable("this is UTF-16: save it as UTF-8")
        if b"\0" in start:
            raise self._unreadable(f"a zero byte at byte {start.index(0)}: this is no text")
        if b"\r" in start.removesuffix(b"\r") and b"\n" not in start:
            self._file, start = io.BufferedReader(_ReturnsAsFeeds(self._file), 1 << 20), start.replace(b"\r", b"\n")
        begin = len(codecs.BOM_UTF8) if start.startswith(codecs.BOM_UTF8) else 0
        first = start[begin:].split(b"\n", 1)[0] + b"\n"
        try:
            self.columns, self.separator, has_header = layout_of(first)
        except ValueError as error:
            raise self._unreadable(str(error)) from None
        self._separator = self.separator.encode()
        self.header = first if has_header else b""
        self._first_row = (min(begin + len(first), len(start)), 2) if has_header else (begin, 1)
        self._refuse_if_broken()

    def rows(self, from_byte: int = 0, from_line: int = 1) -> Iterator[CsvRow]:
        """The rows from a row's beginning on. Empty lines are passed over.

        :raises InputError: it cannot be read to its end; what was yielded before is right.
        """
        byte, line = max((from_byte, from_line), self._first_row)
        self._ahead.clear()
        self._call(self._file.seek, byte)
        while first := self._line():
            row = None if first in (b"\n", b"\r\n") else self._row(first, byte, line)
            byte, line = (row.next_byte, row.next_line) if row else (byte + len(first), line + 1)
            if byte > self._most_bytes:
                raise self._bomb()
            if row:
                yield row

    def _refuse_if_broken(self) -> None:
        looked_at, broken, reason = 0, 0, ""
        for row in islice(self.rows(), LOOKED_AT_ROWS):
            looked_at += 1
            if row.reason and row.size <= MOST_ROW_BYTES:
                broken += 1
                reason = reason or f"line {row.line}: {row.reason}"
        if broken and (broken == looked_at or broken > max(FEW_BROKEN_ROWS, int(self._most_broken * looked_at))):
            which = f"{broken} of the first {looked_at} rows" if looked_at > 1 else "its only row"
            raise self._unreadable(f"{which} cannot be read; {reason}")

    def bytes_read(self) -> int:
        """Of the file as it is on disk."""
        return self._opened.tell()

    def _row(self, first: bytes, byte: int, line: int) -> CsvRow:
        if len(first) > MOST_ROW_BYTES:
            size, sha256 = self._pass_over(first, byte)
            reason, start = f"{size} bytes: too large for the topic", first[:START_OF_ROW_BYTES]
            return CsvRow(start, [], reason, False, byte, line, byte + size, line + 1, sha256)
        reason, rest = "", list[bytes]()
        leftover = first.translate(None, _PLAIN)
        is_plain = leftover in (b"\n", b"") or (leftover == b"\r\n" and first.endswith(b"\r\n"))
        if b'"' in leftover:
            fields, reason, rest = self._quoted(first)
        else:
            fields = first.removesuffix(b"\n").removesuffix(b"\r").split(self._separator)
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
            fields = next(csv.reader(lines(), strict=True, delimiter=self.separator))
        except csv.Error as error:
            is_open = "unexpected end of data" in str(error)
            return [], f"not CSV: {'a quote that is not closed' if is_open else error}", rest
        return [field.encode("latin-1") for field in fields], "", rest

    def _pass_over(self, start: bytes, byte: int) -> tuple[int, str]:
        """Reads on to the end of a line of any length. Out: the line's length in bytes, and its SHA-256."""
        size, digest = len(start), hashlib.sha256(start)
        while not start.endswith(b"\n") and (start := self._line()):
            size += len(start)
            digest.update(start)
            if byte + size > self._most_bytes:
                raise self._bomb()
        return size, digest.hexdigest()

    def _line(self) -> bytes:
        if self._ahead:
            return self._ahead.popleft()
        return self._call(self._file.readline, MOST_ROW_BYTES + 1)

    def _call(self, read: Callable[[A], T], what: A) -> T:
        try:
            return read(what)
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise self._unreadable(getattr(error, "strerror", None) or str(error)) from None

    def _unreadable(self, why: str) -> InputError:
        return InputError(f"{self._name}: {why}.", "CSV in UTF-8, with our columns, that can be read to its end")

    def _bomb(self) -> InputError:
        return InputError(
            f"{self._name}: it unpacks to more than {MOST_UNPACKED} times its size.",
            "store events, which do not become so small",
            "if it is right all the same, unpack it yourself",
        )


class _ReturnsAsFeeds(io.RawIOBase):
    """A file whose lines end as they did on old Macs, byte for byte as one whose lines end with a line feed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, to: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(to, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer)).replace(b"\r", b"\n")
        buffer[: len(data)] = data
        return len(data)


@contextmanager
def open_csv(path: Path, most_broken: float = MOST_BROKEN_SHARE) -> Iterator[CsvFile]:
    """:param most_broken: the share of its first rows that may be broken.

    :raises InputError: it cannot be read, or is no file of events.
    """
    try:
        opened = path.open("rb", buffering=1 << 20)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.", "a CSV file that can be read", "correct the path") from None
    with opened:
        yield CsvFile(path.name, opened, most_broken)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
