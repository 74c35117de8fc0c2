"""Files of months into files of days: each row once, as it was, where it belongs."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import pytest

from ingest import split as module
from ingest.csv_rows import open_csv
from ingest.event_batch import HEADER
from ingest.split import Split, split
from lakehouse.errors import InputError
from tests.chaos.small_disk import SmallDisk


def row(at: str, product: int = 1) -> bytes:
    return f"{at},cart,{product},2,,runail,3.11,5,s\n".encode()


FIRST, SECOND = row("2019-10-01 23:59:59 UTC"), row("2019-10-02 00:00:00 UTC")


@pytest.fixture
def month(tmp_path: Path):
    def write(*parts: bytes, name: str = "2019-Oct.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(b"".join(parts))
        return path

    return write


def contents(paths: list[Path]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in paths}


@pytest.mark.parametrize("header", [b"", HEADER, b"\xef\xbb\xbf" + HEADER, HEADER.replace(b"\n", b"\r\n")])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_day_is_a_file_with_a_header(month, tmp_path: Path, header: bytes, pack) -> None:
    made = split([month(pack(header + FIRST + SECOND + FIRST))], tmp_path / "days")
    assert contents(made) == {"2019-10-01.csv": HEADER + FIRST + FIRST, "2019-10-02.csv": HEADER + SECOND}
    assert sorted((tmp_path / "days").iterdir()) == made


@pytest.mark.parametrize("end", [SECOND[:-1], b"2019-10-0", b"2019-10-02 00:00:00 UTC,cart"])
def test_a_last_line_that_is_cut_is_kept_and_ended(month, tmp_path: Path, end: bytes) -> None:
    made = split([month(HEADER, SECOND, end), month(SECOND, name="2019-Nov.csv")], tmp_path / "days")
    assert contents(made) == {"2019-10-02.csv": HEADER + SECOND + end + b"\n" + SECOND}


def test_days_are_those_of_utc_and_what_has_none_goes_with_the_row_before_it(month, tmp_path: Path) -> None:
    ahead = row("2019-10-02T01:00:00+03:00")
    crlf = row("2019-10-01 00:00:00").replace(b"\n", b"\r\n")
    odd = [b"oops\n", row("yesterday"), row("2019-13-45 00:00:00 UTC"), b'"\xff,\n', crlf]
    made = split([month(b"early\n", FIRST, *odd, SECOND, b"late\n", ahead)], tmp_path / "days")
    assert contents(made) == {
        "2019-10-01.csv": HEADER + FIRST + b"".join(odd) + ahead,
        "2019-10-02.csv": HEADER + SECOND + b"late\n",
        "undated.csv": HEADER + b"early\n",
    }


def test_columns_in_another_order_have_files_of_their_own(month, tmp_path: Path) -> None:
    backwards = [b",".join(reversed(line.strip().split(b","))) + b"\n" for line in (HEADER, FIRST)]
    made = split([month(HEADER, FIRST), month(*backwards, name="2019-Nov.csv")], tmp_path / "days")
    assert contents(made) == {"2019-10-01.csv": HEADER + FIRST, "2019-10-01.2.csv": b"".join(backwards)}


def test_quoted_rows_over_lines_stay_whole(month, tmp_path: Path) -> None:
    quoted = FIRST.replace(b"runail", b'"a\n2019-10-05 00:00:00 UTC,b"')
    assert contents(split([month(quoted)], tmp_path / "days")) == {"2019-10-01.csv": HEADER + quoted}


def test_memory_is_bounded_and_order_kept(month, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GATHERED_BYTES", 1_000)
    lines = [row(f"2019-10-{1 + n % 3:02} 00:00:00 UTC", n) for n in range(500)]
    made = split([month(HEADER, *lines)], tmp_path / "days")
    assert [path.read_bytes() for path in made] == [HEADER + b"".join(lines[day::3]) for day in range(3)]


def test_a_day_that_is_there_is_not_touched_unless_told(month, tmp_path: Path) -> None:
    out = tmp_path / "days"
    split([month(FIRST, SECOND)], out)
    again = month(FIRST, FIRST)
    with pytest.raises(InputError, match=r"2019-10-01\.csv is there already"):
        split([again], out)
    assert (out / "2019-10-01.csv").read_bytes() == HEADER + FIRST
    assert len(list(out.iterdir())) == 2
    split([again], out, replace=True)
    assert (out / "2019-10-01.csv").read_bytes() == HEADER + FIRST + FIRST


@pytest.mark.parametrize("content", [b"\0\1", gzip.compress(FIRST * 50_000)[:-60]])
def test_what_cannot_be_read_to_its_end_leaves_nothing_behind(month, tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match=r"2019-Nov\.csv"):
        split([month(FIRST), month(content, name="2019-Nov.csv")], tmp_path / "days")
    with pytest.raises(InputError, match=r"No such file"):
        split([month(FIRST), tmp_path / "missing.csv"], tmp_path / "days")
    assert list((tmp_path / "days").iterdir()) == []


def test_a_full_disk_is_named_and_leaves_nothing_behind(month, tmp_path: Path) -> None:
    try:
        disk = SmallDisk(tmp_path / "small", size_mb=1)
    except OSError as error:
        pytest.skip(f"no small filesystem: {error}")
    try:
        with pytest.raises(InputError, match="No space left on device"):
            split([month(FIRST * 30_000)], disk.folder / "days")
        assert list((disk.folder / "days").iterdir()) == []
    finally:
        disk.unmount()


def test_stopped_it_writes_nothing_and_its_progress_ends_at_all(month, tmp_path: Path) -> None:
    path, told = month(HEADER, FIRST * 60_000), list[Split]()
    assert split([path], tmp_path / "days", on_progress=told.append, should_stop=lambda: len(told) > 1) == []
    assert list((tmp_path / "days").iterdir()) == [] and 0 < told[0].share <= 1
    split([path], tmp_path / "days", on_progress=told.append)
    assert (told[-1].rows, told[-1].share) == (60_000, 1.0)


def test_the_real_files_are_split_without_a_loss(tmp_path: Path) -> None:
    folder = Path(__file__).parents[3] / "shared" / "data"
    files = sorted(folder.glob("2019-*.csv")) if folder.is_dir() else []
    if len(files) != 3:
        pytest.skip("the sample of real rows is not here")
    made = split(files, tmp_path / "days")
    assert len(made) == 92
    assert sum((raw_rows(path) for path in made), Counter()) == sum((raw_rows(path) for path in files), Counter())


def raw_rows(path: Path) -> Counter[bytes]:
    with open_csv(path) as file:
        return Counter(row.raw for row in file.rows())
