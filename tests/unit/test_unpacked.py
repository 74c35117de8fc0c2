"""What is in packed files: the rows are those of the plain file, and one that is cut or of others says so."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from pyarrow import parquet

from ingest import csv_rows
from ingest import unpacked as module
from ingest.csv_records import csv_records
from ingest.csv_rows import CsvRow, open_csv
from lakehouse.errors import InputError
from lakehouse.event_contract import FIELDS
from tests.packed import zipped

HEADER = ",".join(FIELDS).encode() + b"\n"
ROW = b"2019-10-01 00:14:54 UTC,cart,4497,1487580006895846315,,r.b-x,3.10,554342223,0b974342-1a53\n"
MANY = HEADER + b"".join(ROW.replace(b"4497", str(number).encode()) for number in range(50_000))


def in_parquet(columns: dict[str, pa.Array], **options: object) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pa.table(columns), out, **options)
    return out.getvalue()


def texts_in_parquet(content: bytes) -> bytes:
    rows = [line.decode().split(",") for line in content.splitlines()]
    return in_parquet({name: pa.array([row[at] for row in rows[1:]]) for at, name in enumerate(rows[0])})


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zip": lambda content: zipped(events=content),
    "parquet": texts_in_parquet,
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "events.csv"
        path.write_bytes(content)
        return path

    return write


def rows_of(path: Path, byte: int = 0, line: int = 1) -> list[CsvRow]:
    with open_csv(path) as file:
        return list(file.rows(byte, line))


def events_of(path: Path) -> list[dict[str, str]]:
    return [json.loads(record.value) for record in csv_records(path)]


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_packed_rows_are_the_plain_ones_from_any_place_on(pack: Callable[[bytes], bytes], write) -> None:
    plain = rows_of(write(MANY))
    packed = write(pack(MANY))
    rows = rows_of(packed)
    assert [(row.raw, row.line) for row in rows] == [(row.raw, row.line) for row in plain]
    for place in (0, 20_000, 49_998):
        assert rows_of(packed, rows[place].next_byte, rows[place].next_line) == rows[place + 1 :]
    with open_csv(packed) as file:  # back and forth in one file
        assert next(file.rows(rows[7].byte, rows[7].line)) == rows[7]
        assert next(file.rows(rows[2].byte, rows[2].line)) == rows[2]


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress], ids=["gzip", "xz"])
def test_one_that_is_cut_gives_its_rows_and_then_says_so(pack: Callable[[bytes], bytes], write) -> None:
    found = []
    with (
        pytest.raises(InputError, match=r"events\.csv: Compressed file ended"),
        open_csv(write(pack(MANY)[:-50])) as cut,
    ):
        for row in cut.rows():
            found.append(row)
    assert len(found) > 10_000 and not any(row.reason for row in found)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (zipped(events=MANY)[:-50], "File is not a zip file"),
        (texts_in_parquet(MANY)[:-50], "Parquet magic bytes not found in footer"),
        (b"PK\x03\x04 and no more", "File is not a zip file"),
        (zipped(".txt", notes=MANY), "a zip without a CSV file in it"),
        (zipped(october=HEADER + ROW, november=ROW), r"the first line of november\.csv is not that of october\.csv"),
        (in_parquet({"sku": pa.array([1]), "when": pa.array(["now"])}), "cannot be read; line 1"),
        (b"\xfd7zXZ\0 and no more", "Corrupt input data|Input format not supported"),
    ],
    ids=["zip cut", "parquet cut", "no zip", "no csv", "two headers", "other columns", "no xz"],
)
def test_what_is_not_ours_is_refused_with_its_reason(content: bytes, reason: str, write) -> None:
    with pytest.raises(InputError, match=f"^events\\.csv: .*({reason})"), open_csv(write(content)) as file:
        list(file.rows())


def test_a_zip_that_needs_a_password_says_so(write) -> None:
    content = bytearray(zipped(events=MANY))
    content[6] |= 1  # encrypted, says the file's own header
    content[content.rindex(b"PK\x01\x02") + 8] |= 1  # and the list of files
    with pytest.raises(InputError, match="password required"), open_csv(write(bytes(content))):
        pass


def test_the_files_of_a_zip_follow_each_other(write) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("2019/Oct.csv", HEADER + ROW.removesuffix(b"\n"))
        archive.writestr("__MACOSX/2019/._Oct.csv", b"\0\1")
        archive.writestr("2019/Nov.CSV", HEADER.replace(b"\n", b"\r\n") + ROW * 2)
        archive.writestr("README.md", b"# What it is")
    assert [row.raw for row in rows_of(write(out.getvalue()))] == [ROW] * 3


def test_columns_of_parquet_are_text_as_input_takes_it(write) -> None:
    at = datetime(2019, 10, 1, 2, 14, 54, tzinfo=ZoneInfo("Europe/Paris"))
    columns = {
        "event_time": pa.array([at, at], pa.timestamp("us", "Europe/Paris")),
        "event_type": pa.array(["cart", "view"]).dictionary_encode(),
        "product_id": pa.array([4497, 2**53 + 1], pa.int64()),
        "category_id": pa.array([None, 1487580006895846315], pa.int64()),
        "brand": pa.array(['a "b", c\n', "é"]),
        "price": pa.array([Decimal("3.10"), Decimal("-0.79")]),
        "user_id": pa.array([554342223.0, 1.0]),
        "tags": pa.array([["new", "red"], None]),
        "day": pa.array([at.date(), None]),
        "it's": pa.array([True, None]),
        "__index_level_0__": pa.array([0, 1]),  # as pandas names an index without a name
    }
    first, second = events_of(write(in_parquet(columns)))
    assert first == {
        "event_time": "2019-10-01 02:14:54.000000+0200",
        "event_type": "cart",
        "product_id": "4497",
        "category_id": "",
        "brand": 'a "b", c\n',
        "price": "3.10",
        "user_id": "554342223",
        "tags": '["new", "red"]',
        "day": "2019-10-01",
        "it's": "true",
    }
    assert second["product_id"] == str(2**53 + 1) and second["category_id"] == "1487580006895846315"
    assert (second["brand"], second["price"], second["tags"], second["it's"]) == ("é", "-0.79", "", "")


def test_parquet_is_read_in_bounded_pieces(write, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = list[int]()
    whole = module._csv_of
    monkeypatch.setattr(module, "_csv_of", lambda rows, **how: sizes.append(rows.num_rows) or whole(rows, **how))
    assert len(rows_of(write(texts_in_parquet(MANY)))) == 50_000
    assert max(sizes) == module._BATCH_ROWS


def bomb_of_rows(size: int) -> bytes:
    return HEADER + ROW * (size // len(ROW))


def bomb_of_one_row(size: int) -> bytes:
    return HEADER + ROW + b"x" * size + b"\n"


def bomb_of_nothing(size: int) -> bytes:
    return HEADER + ROW + b"\n" * size


@pytest.mark.parametrize("pack", [PACKERS["gzip"], PACKERS["xz"], PACKERS["zip"]], ids=["gzip", "xz", "zip"])
@pytest.mark.parametrize("bomb", [bomb_of_rows, bomb_of_one_row, bomb_of_nothing])
def test_a_bomb_is_refused_before_it_has_unpacked(
    pack: Callable[[bytes], bytes], bomb: Callable[[int], bytes], write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(csv_rows, "MOST_UNPACKED_BYTES", 50_000)
    monkeypatch.setattr(csv_rows, "MOST_ROW_BYTES", 100_000)
    line, read = csv_rows.CsvFile._line, [0]

    def counted(file: csv_rows.CsvFile) -> bytes:
        found = line(file)
        read[0] += len(found)
        return found

    monkeypatch.setattr(csv_rows.CsvFile, "_line", counted)
    packed = write(pack(bomb(3_000_000)))
    most = csv_rows.MOST_UNPACKED * packed.stat().st_size + 50_000
    with pytest.raises(InputError, match=r"events\.csv: it unpacks to more than 100 times"), open_csv(packed) as file:
        read[0] = 0  # the beginning was judged
        for row in file.rows():
            assert row.next_byte <= most
    assert read[0] <= most + csv_rows.MOST_ROW_BYTES + 1


def test_the_beginning_of_a_file_is_judged_row_by_row(write) -> None:
    """A thousand rows of eight MiB would be all of the memory."""
    path = write(HEADER + (ROW.replace(b"r.b-x", b"x" * 1_000_000)) * 60)
    tracemalloc.start()
    try:
        with open_csv(path):
            assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


def test_a_zip_whose_first_line_does_not_end_costs_bounded_memory(write) -> None:
    path = write(zipped(events=b"x" * 60_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(InputError), open_csv(path) as file:
            list(file.rows())
        assert tracemalloc.get_traced_memory()[1] < 50_000_000
    finally:
        tracemalloc.stop()
