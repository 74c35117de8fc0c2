"""What is in a file of events, plain or packed (gzip, xz, zip, Parquet): always the bytes of one CSV file."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

SUFFIXES = (".csv", ".csv.gz", ".csv.xz", ".zip", ".parquet")
"""Of files that may hold events. What they hold is seen by their first bytes, whatever they are called."""

PACKED = (".gz", ".xz", ".zip", ".parquet")
"""Of files that do not become smaller by packing them again."""

_PIECE_BYTES, _BATCH_ROWS = 1 << 20, 10_000


def suffix_of(name: str) -> str:
    """Which of these a file's name ends with, as it is written here; empty: none."""
    return next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")


def unpacked(file: BinaryIO) -> BinaryIO:
    """The CSV in an open file, from its beginning, to be read and sought. Parquet is written as CSV, with a header; the
    CSV files in a zip follow each other, the header of the first counting for all.

    :raises OSError, EOFError, zlib.error, lzma.LZMAError: it is none of these after all, or not whole; what is returned
        raises them too.
    """
    mark = file.read(6)
    file.seek(0)
    if mark.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    if mark == b"\xfd7zXZ\0":
        return lzma.LZMAFile(file)  # type: ignore[return-value]
    if mark.startswith(b"PK\x03\x04"):
        return _buffered(lambda: _files_of_zip(file))
    if mark.startswith(b"PAR1"):
        return _buffered(lambda: _rows_of_parquet(file))
    return file


class _Forwards(io.RawIOBase):
    """A file that can only be read from its beginning on: going back begins anew.

    :param begin: its pieces.
    """

    def __init__(self, begin: Callable[[], Iterator[bytes]]) -> None:
        self._begin = begin
        self._restart()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, to: int, whence: int = io.SEEK_SET) -> int:
        to = to if whence == io.SEEK_SET else self._at + to  # nobody asks for its end
        if to < self._at:
            self._restart()
        while self._at < to and (passed := len(self._next(to - self._at))):
            self._at += passed
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self._next(len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _restart(self) -> None:
        self._pieces, self._rest, self._at = self._begin(), memoryview(b""), 0

    def _next(self, most: int) -> memoryview:
        while not self._rest:
            try:
                self._rest = memoryview(next(self._pieces))
            except StopIteration:
                break
            except (EOFError, OSError):
                raise
            except Exception as error:  # each of these libraries has errors of its own
                raise OSError(str(error)) from None
        data, self._rest = self._rest[:most], self._rest[most:]
        return data


def _buffered(begin: Callable[[], Iterator[bytes]]) -> BinaryIO:
    return io.BufferedReader(_Forwards(begin), _PIECE_BYTES)


def _files_of_zip(file: BinaryIO) -> Iterator[bytes]:
    header = last = b""
    with zipfile.ZipFile(file) as archive:
        names = [name for name in archive.namelist() if name.lower().endswith(".csv") and _is_a_file_of_ours(name)]
        if not names:
            raise OSError("a zip without a CSV file in it")
        for number, name in enumerate(names):
            with archive.open(name) as member:
                first = member.readline(_PIECE_BYTES)
                if number and first.strip() != header.strip():
                    raise OSError(f"the first line of {name} is not that of {names[0]}, which is in the same zip")
                if not number:
                    header = last = first
                    yield first
                elif not last.endswith(b"\n"):
                    yield b"\n"
                while piece := member.read(_PIECE_BYTES):
                    yield piece
                    last = piece


def _is_a_file_of_ours(name: str) -> bool:
    """What macOS adds to a zip is called as the files are."""
    return not name.startswith("__MACOSX/") and not name.rpartition("/")[2].startswith(".")


def _rows_of_parquet(file: BinaryIO) -> Iterator[bytes]:
    import pyarrow as pa
    from pyarrow import parquet

    file.seek(0)
    opened = parquet.ParquetFile(file)
    names = ["" if name.startswith("__index_level_") else name for name in opened.schema_arrow.names]  # of pandas
    yield _csv_of(pa.table([pa.array([], pa.string()) for _ in names], names=names), with_names=True)
    for batch in opened.iter_batches(_BATCH_ROWS):
        yield _csv_of(pa.table([_as_text(column) for column in batch.columns], names=names))


def _as_text(column: Any) -> Any:
    """Times as ISO 8601, decimals as they are, what has parts as JSON."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_nested(column.type):
        texts = [
            None if value is None else json.dumps(value, ensure_ascii=False, default=str)
            for value in column.to_pylist()
        ]
        return pa.array(texts, pa.string())
    return column.cast(pa.string())


def _csv_of(rows: Any, with_names: bool = False) -> bytes:
    """Quotes take a slower road for whoever reads it: they are there where a value needs them."""
    import pyarrow as pa
    from pyarrow import csv

    for quotes in ("none", "needed"):
        out = pa.BufferOutputStream()
        try:
            csv.write_csv(rows, out, csv.WriteOptions(include_header=with_names, quoting_style=quotes))
        except pa.ArrowInvalid:
            continue
        return out.getvalue().to_pybytes()
    raise OSError("it has values that CSV cannot hold")
