"""CSV files as records: what is read, what is unreadable, and going on from any row."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.csv_rows import csv_rows
from ingest.event_batch import COLUMNS

HEADER = ",".join(COLUMNS).encode() + b"\n"
ROW = b"2019-10-01 00:14:54 UTC,cart,4497,1487580006895846315,,r.b-x,03.10,554342223,0b974342-1a53\n"
TEXT = dict(zip(COLUMNS, ROW.decode().strip().split(","), strict=True))


@pytest.fixture
def file(tmp_path: Path):
    def write(*parts: bytes) -> Path:
        path = tmp_path / "events.csv"
        path.write_bytes(b"".join(parts))
        return path

    return write


def test_a_row_is_its_nine_columns_as_text_and_its_user_is_the_key(file) -> None:
    (row,) = csv_rows(file(HEADER, ROW))
    assert (row.key, json.loads(row.value), row.line, row.reason) == (b"554342223", TEXT, 2, "")


@pytest.mark.parametrize("start", [b"", HEADER, b"\xef\xbb\xbf" + HEADER, b"\n\n", HEADER.replace(b"\n", b"\r\n")])
def test_a_header_a_mark_and_empty_lines_are_not_rows(file, start: bytes) -> None:
    assert [json.loads(row.value) for row in csv_rows(file(start, ROW, b"\n", ROW))] == [TEXT, TEXT]


def test_columns_go_by_the_header(file) -> None:
    backwards = [b",".join(reversed(line.strip().split(b","))) + b"\n" for line in (HEADER, ROW)]
    (row,) = csv_rows(file(*backwards))
    assert json.loads(row.value) == TEXT


def test_empty_text_stays_empty_text_and_no_user_is_no_key(file) -> None:
    (row,) = csv_rows(file(b",,,,,,,,\n"))
    assert (row.key, json.loads(row.value)) == (None, dict.fromkeys(COLUMNS, ""))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"2019-10-01 00:14:54 UTC,cart,4497\n", "3 columns instead of 9"),
        (ROW[:-1] + b",junk\n", "10 columns instead of 9"),
        (ROW.replace(b"r.b-x", b"\xff\xfe"), "not UTF-8"),
        (b'"' + b"x" * 200_000 + b"\n", "not CSV: field larger than field limit (131072)"),
    ],
)
def test_an_unreadable_row_keeps_its_bytes_and_stops_nothing(file, line: bytes, reason: str) -> None:
    before, bad, after = csv_rows(file(HEADER, ROW, line, ROW))
    assert (bad.key, bad.value, bad.line, bad.reason) == (None, line, 3, reason)
    assert before.value == after.value
    assert after.line == 4


def test_quotes_may_hold_commas_and_line_feeds(file) -> None:
    first, second = csv_rows(file(HEADER, ROW.replace(b"r.b-x", b'"a, ""b""\nc"'), ROW))
    assert json.loads(first.value)["brand"] == 'a, "b"\nc'
    assert (first.line, first.next_line, second.line) == (2, 4, 4)


def test_a_truncated_last_line_without_a_line_feed_is_a_row(file) -> None:
    first, last = csv_rows(file(HEADER, ROW, ROW[:-1]))
    assert first.value == last.value


@pytest.mark.parametrize("start", [b"", HEADER])
def test_no_rows(file, start: bytes) -> None:
    assert list(csv_rows(file(start))) == []


@given(
    lines=st.lists(
        st.sampled_from([ROW, b"\n", b"junk\n", ROW.replace(b"r.b-x", b'"a\nb"'), b"\xff\n", ROW[:-1] + b"\r\n"])
    ),
    header=st.sampled_from([b"", HEADER, b"\xef\xbb\xbf" + HEADER]),
    cut=st.integers(0, 30),
)
def test_reading_can_go_on_after_any_row(tmp_path_factory, lines: list[bytes], header: bytes, cut: int) -> None:
    path = tmp_path_factory.mktemp("csv") / "events.csv"
    path.write_bytes(header + b"".join(lines))
    rows = list(csv_rows(path))
    if rows:
        at = rows[cut % len(rows)]
        assert list(csv_rows(path, at.next_byte, at.next_line)) == rows[rows.index(at) + 1 :]


def test_all_real_rows_are_read() -> None:
    folder = Path(__file__).parents[3] / "shared" / "data"
    files = sorted(folder.glob("2019-*.csv")) if folder.is_dir() else []
    if len(files) != 3:
        pytest.skip("the sample of real rows is not here")
    rows = [row for path in files for row in csv_rows(path)]
    assert len(rows) == 45_029
    assert not any(row.reason for row in rows)
