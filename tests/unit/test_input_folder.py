"""Files on their way: dropped in one step, claimed in order."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ingest.deliveries import Deliveries
from ingest.drop import drop, drop_all
from ingest.input_folder import InputFolder
from lakehouse.errors import InputError, LockedError

NOW_S = 2e9


@pytest.fixture
def days(tmp_path: Path) -> Path:
    folder = tmp_path / "days"
    folder.mkdir()
    for day in (3, 1, 2):
        (folder / f"2019-10-0{day}.csv").write_bytes(b"day %d\n" % day)
    return folder


@pytest.fixture
def input_folder(tmp_path: Path) -> Path:
    return tmp_path / "input"


def claimed(folder: InputFolder) -> list[tuple[int, str]]:
    return [(delivery.number, delivery.name) for delivery in folder.deliveries.claimed()]


def opened(path: Path, settle_s: float = 0.0, now_s: float = NOW_S) -> tuple[InputFolder, list[str]]:
    said: list[str] = []
    return InputFolder(path, Deliveries(path.parent / "state"), settle_s, said.append, lambda: now_s), said


def put(folder: Path, name: str, changed_s: float = NOW_S - 100) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x")
    os.utime(folder / name, (changed_s, changed_s))


def test_files_are_dropped_in_order_one_an_interval(days: Path, input_folder: Path) -> None:
    told: list[tuple[str, int]] = []
    assert (
        drop_all(
            days,
            input_folder,
            0.0,
            input_folder.parent / "lock",
            on_drop=lambda path, left: told.append((path.name, left)),
        )
        == 3
    )
    assert told == [("2019-10-01.csv", 2), ("2019-10-02.csv", 1), ("2019-10-03.csv", 0)]
    assert list(days.iterdir()) == []
    with pytest.raises(InputError, match="no CSV files"):
        drop_all(days, input_folder, 0.0, input_folder.parent / "lock")


def test_a_stopped_drop_goes_on_with_what_is_left(days: Path, input_folder: Path) -> None:
    left = iter([False])
    assert drop_all(days, input_folder, 3600.0, input_folder.parent / "lock", should_stop=lambda: next(left, True)) == 1
    assert drop_all(days, input_folder, 0.0, input_folder.parent / "lock") == 2


def test_no_file_is_replaced_by_a_drop(days: Path, input_folder: Path) -> None:
    put(input_folder, "2019-10-01.csv")
    assert drop(days / "2019-10-01.csv", input_folder).name == "2019-10-01~2.csv"
    put(days, "2019-10-01.csv")
    assert drop(days / "2019-10-01.csv", input_folder).name == "2019-10-01~3.csv"


def test_one_drops_at_a_time(days: Path, input_folder: Path) -> None:
    def second(path: Path, left: int) -> None:
        with pytest.raises(LockedError if left else InputError):
            drop_all(days, input_folder, 0.0, input_folder.parent / "lock")

    drop_all(days, input_folder, 0.0, input_folder.parent / "lock", on_drop=second)


def test_a_drop_from_another_file_system_is_a_whole_copy(days: Path, input_folder: Path) -> None:
    elsewhere = Path("/dev/shm")
    if not elsewhere.is_dir() or elsewhere.stat().st_dev == days.stat().st_dev:
        pytest.skip("there is one file system only")
    input_folder.mkdir()
    other = elsewhere / f"lakehouse-test-{os.getpid()}.csv"
    other.write_bytes(b"rows\n")
    target = drop(other, input_folder)
    assert (target.read_bytes(), other.exists()) == (b"rows\n", False)
    assert list(input_folder.iterdir()) == [target]


def test_files_are_claimed_in_the_order_of_names_under_rising_numbers(input_folder: Path) -> None:
    for name in ("b.csv", "a.csv", "c.CSV.gz"):
        put(input_folder, name)
    folder, _ = opened(input_folder)
    folder.claim(above=41)
    assert claimed(folder) == [(42, "a.csv"), (43, "b.csv"), (44, "c.CSV.gz")]
    folder.deliveries.finish(folder.deliveries.claimed()[2])
    put(input_folder, "a.csv")
    folder.claim(above=41)
    assert claimed(folder) == [(42, "a.csv"), (43, "b.csv"), (45, "a.csv")]


def test_a_file_that_came_while_the_folder_was_looked_at_is_not_overtaken(
    input_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look may show `b` and miss `a`, which was there before it; then `c` and `d` come."""
    folder, _ = opened(input_folder)
    looks = iter([{"b.csv": True}, {"a.csv": True, "b.csv": True, "d.csv": True}])
    for name in "abcd":
        put(input_folder, f"{name}.csv")
    monkeypatch.setattr(folder, "_look", lambda inbox: next(looks))
    folder.claim(above=0)
    assert [name for _, name in claimed(folder)] == ["a.csv", "b.csv"]


def test_a_file_that_just_changed_holds_back_those_behind_it(input_folder: Path) -> None:
    for name, age_s in (("a.csv", 10), ("b.csv", 0.5), ("c.csv", 10)):
        put(input_folder, name, NOW_S - age_s)
    folder, _ = opened(input_folder, settle_s=1.0)
    folder.claim(above=0)
    assert claimed(folder) == [(1, "a.csv")]
    later, _ = opened(input_folder, settle_s=1.0, now_s=NOW_S + 0.6)
    later.claim(above=0)
    assert claimed(later) == [(1, "a.csv"), (2, "b.csv"), (3, "c.csv")]


def test_a_file_of_the_future_is_read_when_it_stays_as_it_is(input_folder: Path, tmp_path: Path) -> None:
    put(input_folder, "a.csv", NOW_S + 86_400)
    clock = [NOW_S]
    folder = InputFolder(input_folder, Deliveries(tmp_path / "state"), 1.0, print, lambda: clock[0])
    folder.claim(above=0)
    assert claimed(folder) == []
    clock[0] += 1.1
    folder.claim(above=0)
    assert claimed(folder) == [(1, "a.csv")]


def test_a_file_that_another_process_has_open_for_writing_is_left_and_holds_nobody_back(input_folder: Path) -> None:
    put(input_folder, "a.csv")
    put(input_folder, "b.csv")
    folder, _ = opened(input_folder)
    writer = subprocess.Popen(
        [sys.executable, "-c", f"f = open({str(input_folder / 'a.csv')!r}, 'ab'); print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    folder.claim(above=0)
    assert [name for _, name in claimed(folder)] == ["b.csv"]
    writer.communicate(b"\n")
    folder.claim(above=0)
    assert [name for _, name in claimed(folder)] == ["b.csv", "a.csv"]


def test_what_is_no_file_of_events_is_passed_over_and_said_once(input_folder: Path) -> None:
    for name in ("notes.txt", ".hidden.csv", "a.csv.part"):
        put(input_folder, name)
    (input_folder / "x.csv").mkdir()
    folder, said = opened(input_folder)
    for _ in range(3):
        folder.claim(above=0)
    assert claimed(folder) == []
    assert sorted(said) == [
        "notes.txt: passed over: not *.csv or *.csv.gz or *.csv.xz or *.zip or *.parquet",
        "x.csv: passed over: not a file",
    ]


def test_a_folder_keeps_the_name_of_its_source(input_folder: Path) -> None:
    assert opened(input_folder)[0].deliveries.source_id("first") == "first"
    assert opened(input_folder)[0].deliveries.source_id("second") == "first"
