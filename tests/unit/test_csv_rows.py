"""CSV files as records: what is read, what is unreadable, and going on from any row."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import lzma
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import csv_rows as module
from ingest.csv_records import csv_records
from ingest.csv_rows import FEW_BROKEN_ROWS, CsvRow, open_csv
from lakehouse.errors import InputError
from lakehouse.event_contract import FIELDS
from tests.packed import zipped

HEADER = ",".join(FIELDS).encode() + b"\n"
ROW = b"2019-10-01 00:14:54 UTC,cart,4497,1487580006895846315,,r.b-x,03.10,554342223,0b974342-1a53\n"
TWO_LINES, OPEN = ROW.replace(b"r.b-x", b'"a\nb"'), ROW.replace(b"r.b", b'"a')
TEXT = dict(zip(FIELDS, ROW.decode().strip().split(","), strict=True))


def csv_rows(path: Path, byte: int = 0, line: int = 1) -> list[CsvRow]:
    with open_csv(path) as file:
        return list(file.rows(byte, line))


def events(path: Path) -> list[dict[str, str]]:
    """Of the rows that are not broken, as JSON has them."""
    return [json.loads(record.value) for record in csv_records(path) if not record.reason]


@pytest.fixture
def file(tmp_path: Path):
    def write(*parts: bytes) -> Path:
        path = tmp_path / "events.csv"
        path.write_bytes(b"".join(parts))
        return path

    return write


def test_a_row_is_its_nine_columns_as_text(file) -> None:
    path = file(HEADER, ROW)
    (row,) = csv_rows(path)
    assert (row.raw, row.byte, row.line, row.reason) == (ROW, len(HEADER), 2, "")
    assert events(path) == [TEXT]


@pytest.mark.parametrize("start", [b"", HEADER, b"\xef\xbb\xbf" + HEADER, b"\n\n", HEADER.replace(b"\n", b"\r\n")])
def test_a_header_a_mark_and_empty_lines_are_not_rows(file, start: bytes) -> None:
    assert events(file(start, ROW, b"\n", ROW)) == [TEXT, TEXT]


def test_columns_go_by_the_header(file) -> None:
    backwards = [b",".join(reversed(line.strip().split(b","))) + b"\n" for line in (HEADER, ROW)]
    assert events(file(*backwards)) == [TEXT]


def in_shape(names: list[str], fields: list[str], separator: str = ",", end: str = "\n", times: int = 3) -> bytes:
    return end.join([separator.join(names), *[separator.join(fields)] * times, ""]).encode()


VALUES = list(TEXT.values())
NAMES = list(FIELDS)


@pytest.mark.parametrize(
    ("content", "more"),
    [
        # Names in other cases, with spaces and quotes; the order is the file's own.
        (in_shape([name.title() for name in NAMES], VALUES), {}),
        (in_shape([f' "{name.upper()}" '.strip() for name in NAMES], VALUES), {}),
        (in_shape([name.replace("_", " ") for name in NAMES], VALUES), {}),
        (in_shape([f" {name} " for name in NAMES], VALUES), {}),
        (in_shape([*NAMES[3:], *NAMES[:3]], [*VALUES[3:], *VALUES[:3]]), {}),
        # More columns and fewer.
        (in_shape(["", *NAMES], ["0", *VALUES]), {}),
        (in_shape([*NAMES, ""], [*VALUES, ""]), {}),
        (in_shape(["", *NAMES, "Rabatt %s"], ["0", *VALUES, "a, b".replace(",", ";")]), {"Rabatt %s": "a; b"}),
        (in_shape([*NAMES, "event_id"], [*VALUES, "own-1"]), {"event_id": "own-1"}),
        (in_shape([*NAMES, 'a ""quoted"" name'], [*VALUES, "é"]), {'a ""quoted"" name': "é"}),
        # Separators, the comma then being no more than a letter.
        *((in_shape(NAMES, [*VALUES[:5], "r,b", *VALUES[6:]], each), {"brand": "r,b"}) for each in ";\t|"),
        # Ends of lines.
        *((in_shape(NAMES, VALUES, end=end), {}) for end in ("\r\n", "\r")),
        (in_shape(NAMES, VALUES, ";", "\r"), {}),
        (in_shape(NAMES, VALUES, end="\r").removesuffix(b"\r"), {}),
        (b"\xef\xbb\xbf" + in_shape(NAMES, VALUES, "\t", "\r\n"), {}),
        # Without a header: nine columns, whatever is between them.
        *((in_shape(VALUES, VALUES, each, times=2), {}) for each in ",;\t|"),
    ],
)
def test_columns_are_found_in_every_shape(file, content: bytes, more: dict[str, str]) -> None:
    for packed in (content, gzip.compress(content), lzma.compress(content), zipped(events=content)):
        path = file(packed)
        assert events(path) == [TEXT | more] * 3
        rows = csv_rows(path)
        assert csv_rows(path, rows[0].next_byte, rows[0].next_line) == rows[1:]


def test_a_column_that_is_not_there_has_no_value(file) -> None:
    names, values = [*NAMES[:4], *NAMES[5:]], [*VALUES[:4], *VALUES[5:]]
    assert events(file(in_shape(names, values))) == [dict(zip(names, values, strict=True))] * 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (in_shape(NAMES[:-2], VALUES[:-2]), r"its header lacks user_id: 'event_time,"),
        (in_shape(["event_time", "event_type", "sku"], ["a", "b", "c"]), "lacks product_id, price, user_id"),
        (in_shape([*NAMES, "Brand"], [*VALUES, "x"]), "its header names brand twice"),
        (in_shape([*NAMES, "x", "x"], [*VALUES, "1", "2"]), "its header names x twice"),
        (in_shape(["Zeit", "Art", "Artikel", "Preis", "Kunde"], VALUES[:5]), "a header that names none of our columns"),
        (in_shape(NAMES, VALUES).decode().encode("utf-16"), "this is UTF-16: save it as UTF-8"),
        (in_shape(NAMES, VALUES).decode().encode("utf-16-be"), "a zero byte at byte 0"),
        (HEADER + ROW.replace(b"r.b-x", b"\xe9") * 3, "3 of the first 3 rows cannot be read; line 2: not UTF-8"),
        (HEADER + ROW * 80 + ROW.replace(b"r.b-x", b"\xe9") * 11, "11 of the first 91 rows cannot be read; line 82"),
        (HEADER + ROW[30:], "its only row cannot be read; line 2"),
        (HEADER + b"hello\n" * 5000, r"1000 of the first 1000 rows .*: 1 columns instead of 9"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_as_a_file(file, content: bytes, reason: str) -> None:
    path = file(content)
    with pytest.raises(InputError, match=f"^events\\.csv: .*{reason}"), open_csv(path):
        pass


def test_a_few_broken_rows_are_broken_alone(file) -> None:
    bad = ROW.replace(b"r.b-x", b"\xe9")
    for good, broken in ((1, 10), (100, 11), (900, 90)):
        assert len(events(file(HEADER, ROW * good, bad * broken))) == good


def test_empty_text_stays_empty_text(file) -> None:
    assert events(file(b",,,,,,,,\n")) == [dict.fromkeys(FIELDS, "")]


@pytest.mark.parametrize("brand", ["r.b-x", "é日本", "back\\slash", "a\tb", "mid\rdle", 'qu"ote', "\x7f", "{}%s"])
def test_what_is_between_the_commas_is_what_json_has(file, brand: str) -> None:
    assert events(file(HEADER, ROW.replace(b"r.b-x", brand.encode()))) == [TEXT | {"brand": brand}]


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b""])
def test_a_line_ends_as_it_likes(file, end: bytes) -> None:
    for row in (ROW, ROW.replace(b"r.b-x", b'"r.b-x"')):
        assert events(file(HEADER, row.strip() + end)) == [TEXT]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"2019-10-01 00:14:54 UTC,cart,4497\n", "3 columns instead of 9"),
        (ROW[:-1] + b",junk\n", "10 columns instead of 9"),
        (ROW.replace(b"r.b-x", b"\xff\xfe"), "not UTF-8"),
        (ROW.replace(b"r.b-x", b'"a" b'), "not CSV: ',' expected after '\"'"),
        (ROW.replace(b"r.b-x", b'"a'), "not CSV: a quote that is not closed"),
        (ROW.replace(b"r.b-x", b'"a\xff'), "not UTF-8"),
    ],
)
def test_a_broken_row_keeps_its_bytes_and_stops_nothing(file, line: bytes, reason: str) -> None:
    before, bad, after = csv_rows(file(HEADER, ROW, line, ROW))
    assert (bad.raw, bad.line, bad.reason) == (line, 3, reason)
    assert before.raw == after.raw == ROW
    assert after.line == 4


def test_a_quote_that_is_not_closed_takes_no_neighbour_with_it(file) -> None:
    """Also when a quote far behind would close it, and when none does for longer than a row may be."""
    open_ = ROW.replace(b"r.b-x", b'"a')
    for many in (3, 200):
        rows = csv_rows(file(HEADER, open_, ROW * many, ROW.replace(b"r.b-x", b'"b"'), ROW))
        assert [bool(row.reason) for row in rows] == [True] + [False] * (many + 2)
        assert [row.line for row in rows] == list(range(2, many + 5))


def test_quotes_may_hold_commas_and_line_feeds(file) -> None:
    path = file(HEADER, ROW.replace(b"r.b-x", b'"a, ""b""\nc"'), ROW)
    first, second = csv_rows(path)
    assert events(path)[0]["brand"] == 'a, "b"\nc'
    assert (first.line, first.next_line, second.line) == (2, 4, 4)


@pytest.mark.parametrize("start", [b"", HEADER])
def test_no_rows(file, start: bytes) -> None:
    assert csv_rows(file(start)) == []


def test_binary_files_are_refused(file) -> None:
    with pytest.raises(InputError, match="zero byte at byte 4"), open_csv(file(b"\x7fELF\0\0")):
        pass


def test_a_row_of_any_length_costs_bounded_memory_and_keeps_its_digest(file, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROW_BYTES", 1000)
    huge = ROW.replace(b"r.b-x", b"x" * 10_000)
    path = file(HEADER, ROW, huge, ROW)
    before, row, after = csv_rows(path)
    assert (row.reason, row.next_byte - row.byte) == (f"{len(huge)} bytes: too large for the topic", len(huge))
    assert (before.raw, after.raw, after.line) == (ROW, ROW, 4)
    assert row.sha256 == hashlib.sha256(huge).hexdigest()


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 1_000_000, 9_000_000])
def test_of_an_unreadable_row_the_beginning_and_the_digest_are_kept(file, size: int) -> None:
    junk = b"x" * (size - 1) + b"\n"
    (_, record) = csv_records(file(HEADER, ROW, junk))
    assert record.value == junk[:65_536]
    assert record.sha256 == (hashlib.sha256(junk).hexdigest() if size > 65_536 else "")


@given(
    lines=st.lists(
        st.sampled_from(
            [
                ROW,
                b"\n",
                b"junk\n",
                ROW.replace(b"r.b-x", b'"a\nb"'),
                ROW.replace(b"r.b", b'"a'),
                b"\xff\n",
                ROW[:-1] + b"\r\n",
            ]
        ),
        max_size=FEW_BROKEN_ROWS // 2,  # `"a` and the row behind it
    ),
    header=st.sampled_from([b"", HEADER, b"\xef\xbb\xbf" + HEADER]),
    cut=st.integers(0, 30),
)
def test_no_byte_is_lost_and_reading_can_go_on_after_any_row(
    tmp_path_factory, lines: list[bytes], header: bytes, cut: int
) -> None:
    path = tmp_path_factory.mktemp("csv") / "events.csv"
    lines = [ROW, *lines]  # the file is ours
    path.write_bytes(header + b"".join(lines))
    rows = csv_rows(path)
    assert b"".join(row.raw for row in rows) == b"".join(line for line in lines if line != b"\n")
    if rows:
        at = rows[cut % len(rows)]
        assert csv_rows(path, at.next_byte, at.next_line) == rows[rows.index(at) + 1 :]


@given(text=st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=8), min_size=9, max_size=9))
def test_any_text_that_a_csv_writer_writes_comes_back(tmp_path_factory, text: list[str]) -> None:
    path = tmp_path_factory.mktemp("csv") / "events.csv"
    with path.open("w", encoding="utf-8", newline="") as out:
        csv.writer(out).writerows([FIELDS, text])
    if "\0" not in "".join(text):
        expected = dict(zip(FIELDS, text, strict=True))
        assert events(path) == [expected]


def test_all_real_rows_are_read() -> None:
    folder = Path(__file__).parents[3] / "shared" / "data"
    files = sorted(folder.glob("2019-*.csv")) if folder.is_dir() else []
    if len(files) != 3:
        pytest.skip("the sample of real rows is not here")
    rows = [row for path in files for row in csv_rows(path)]
    assert len(rows) == 45_029
    assert not any(row.reason for row in rows)
