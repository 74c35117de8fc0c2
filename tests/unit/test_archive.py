"""Files that were read: packed, with checksums, under their numbers; and their way back under their names."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from ingest.archive import NAMES, SUMS, Archive, replay
from ingest.console import Progress
from ingest.deliveries import Delivery
from lakehouse.errors import InputError

SOURCE = "sourcesource"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "archive")


def delivered(folder: Path, number: int, name: str, content: bytes = b"x") -> Delivery:
    delivery = Delivery(number, name, folder / f"{number:08}")
    delivery.folder.mkdir(exist_ok=True)
    delivery.path.write_bytes(content)
    return delivery


def take(archive: Archive, folder: Path, names: list[str]) -> None:
    for number, name in enumerate(names, 1):
        archive.take(delivered(folder, number, name), SOURCE)


def test_it_is_what_sha256sum_checks_and_a_repeated_step_changes_nothing(archive: Archive, tmp_path: Path) -> None:
    names = ["a.csv", "b.csv.gz", "c.parquet"]
    take(archive, tmp_path, names)
    place = archive.folder / "sourceso"
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    take(archive, tmp_path, names)
    take(Archive(archive.folder), tmp_path, names)
    assert {path.name: path.read_bytes() for path in place.iterdir()} == before
    assert (archive.newest(SOURCE), archive.newest("other")) == (3, 0)
    assert [(path.name, name) for path, name, _ in archive.files()] == [
        ("00000001.csv.gz", "a.csv"),
        ("00000002.csv.gz", "b.csv.gz"),
        ("00000003.parquet", "c.parquet"),
    ]
    assert gzip.decompress((place / "00000001.csv.gz").read_bytes()) == b"x"
    subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=place, check=True)


def test_nobody_else_may_read_it(archive: Archive, tmp_path: Path) -> None:
    place = archive.folder / "sourceso"
    place.mkdir(parents=True, mode=0o755)
    take(archive, tmp_path, ["a.csv", "b.csv.gz"])
    assert place.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in place.iterdir()} == {0o600}


@pytest.mark.parametrize("left", [b"", b"0a1b", b"0a1b  0000"])
def test_a_line_that_a_crash_has_cut_is_written_anew(archive: Archive, tmp_path: Path, left: bytes) -> None:
    take(archive, tmp_path, ["a.csv"])
    place = archive.folder / "sourceso"
    for name in (SUMS, NAMES):
        with (place / name).open("ab") as out:
            out.write(left)
    again = Archive(archive.folder)
    assert again.newest(SOURCE) == 1
    take(again, tmp_path, ["a.csv", "b.csv"])
    assert [file.name for file in again.files()] == ["a.csv", "b.csv"]
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS], cwd=place, check=True)


def test_a_file_costs_the_same_however_many_there_are(archive: Archive, tmp_path: Path) -> None:
    """Lists grow by a line; they are not written anew for each file."""
    place = archive.folder / "sourceso"
    take(archive, tmp_path, ["a.csv"])
    lists = {name: (place / name).stat().st_ino for name in (SUMS, NAMES)}
    take(archive, tmp_path, ["a.csv", "b.csv", "c.csv"])
    assert {name: (place / name).stat().st_ino for name in lists} == lists
    assert len((place / SUMS).read_bytes().splitlines()) == 3


def test_what_the_version_before_archived_counts_and_comes_back(archive: Archive, tmp_path: Path) -> None:
    place = archive.folder / "sourceso"
    place.mkdir(parents=True)
    odd = ["00000001-a\rb.csv.gz", "00000002-a\x85\u2028b.csv.gz", "00000003-\udcff.csv.gz", "x.csv.gz", "2019.csv.gz"]
    for name in odd:
        (place / name).write_bytes(gzip.compress(b"x"))
    digest = subprocess.run(["sha256sum", odd[0]], cwd=place, capture_output=True, check=True).stdout.split()[0]
    lines = "".join(f"{digest.decode().lstrip(chr(92))}  {name}\n" for name in odd)
    (place / SUMS).write_bytes(lines.encode(errors="surrogateescape"))
    assert archive.newest(SOURCE) == 3
    archive.take(delivered(tmp_path, 4, "d.csv"), SOURCE)
    assert {file.name for file in archive.files()} == {
        "a\rb.csv.gz", "a\x85\u2028b.csv.gz", "\udcff.csv.gz", "x.csv.gz", "2019.csv.gz", "d.csv"
    }  # fmt: skip
    assert replay(archive, ["d.csv", "b.csv"], tmp_path / "input", Progress()) == 3


def test_a_name_comes_back_whole_or_cut_to_what_fits(archive: Archive, tmp_path: Path) -> None:
    names = ["a" * 251 + ".csv", "b" * 247 + ".csv.gz", "\U0001f600" * 62 + ".csv", "\udcff\n.csv"]
    take(archive, tmp_path, names)
    for _ in range(2):
        assert replay(archive, [], tmp_path / "input", Progress()) == 4
    back = sorted(path.name for path in (tmp_path / "input").iterdir())
    assert len(back) == 8 and names[1] in back and "\udcff\n~2.csv.gz" in back
    assert all(name.endswith(".csv.gz") for name in back)


def test_nothing_comes_back_when_one_file_is_not_what_was_archived(archive: Archive, tmp_path: Path) -> None:
    input_folder = tmp_path / "input"
    take(archive, tmp_path, ["a.csv", "b.csv"])
    assert replay(archive, ["a.csv"], input_folder, Progress()) == 1
    assert replay(archive, [], input_folder, Progress()) == 2
    assert sorted(path.name for path in input_folder.iterdir()) == ["a.csv.gz", "a~2.csv.gz", "b.csv.gz"]
    with pytest.raises(InputError, match="No such file"):
        replay(archive, ["c.csv"], input_folder, Progress())
    (archive.folder / "sourceso" / "00000002.csv.gz").write_bytes(b"rot")
    with pytest.raises(InputError, match="not what was archived"):
        replay(archive, [], input_folder, Progress())
    assert len(list(input_folder.iterdir())) == 3


def test_no_planted_link_is_written_through(archive: Archive, tmp_path: Path) -> None:
    """Whoever writes to the input folder waits for a copy with a link under the name that it might have meanwhile."""
    take(archive, tmp_path, ["a.csv"])
    thesis, input_folder = tmp_path / "thesis.txt", tmp_path / "input"
    thesis.write_bytes(b"thesis")
    input_folder.mkdir()
    for name in (".a.csv.gz.part", "a.csv.gz", "a.csv.gz.part"):
        (input_folder / name).symlink_to(thesis)
    replay(archive, [], input_folder, Progress())
    assert thesis.read_bytes() == b"thesis"
    assert gzip.decompress((input_folder / "a~2.csv.gz").read_bytes()) == b"x"


def test_the_note_of_names_is_a_line_of_json_a_file(archive: Archive, tmp_path: Path) -> None:
    take(archive, tmp_path, ["a\nb.csv"])
    (line,) = (archive.folder / "sourceso" / NAMES).read_text().splitlines()
    assert json.loads(line) == {"file": "00000001.csv.gz", "name": "a\nb.csv"}


def aged(archive: Archive, numbers: range) -> None:
    for number in numbers:
        os.utime(archive.folder / "sourceso" / f"{number:08}.csv.gz", (1000.0 + number, 1000.0 + number))


def test_old_files_go_and_numbers_go_on(archive: Archive, tmp_path: Path) -> None:
    take(archive, tmp_path, [f"{letter}.csv" for letter in "abcdef"])
    aged(archive, range(1, 7))
    archive.remove_before(1001.0, SOURCE)
    assert len(archive.files()) == 6
    archive.remove_before(1004.5, SOURCE)
    assert [file.name for file in archive.files()] == ["d.csv", "e.csv", "f.csv"]
    place = archive.folder / "sourceso"
    assert len(list(place.iterdir())) == 5 and len((place / NAMES).read_bytes().splitlines()) == 3
    assert {path.stat().st_mode & 0o777 for path in place.iterdir()} == {0o600}
    archive.remove_before(9999.0, SOURCE)
    assert [file.name for file in archive.files()] == ["f.csv"]
    assert Archive(archive.folder).newest(SOURCE) == 6
    archive.take(delivered(tmp_path, 7, "g.csv"), SOURCE)
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS], cwd=place, check=True)
    archive.remove_before(9999.0, "another source")


@pytest.mark.parametrize("at", range(7))
def test_killed_while_old_files_go_the_next_call_ends_it(
    archive: Archive, tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(archive, tmp_path, [f"{letter}.csv" for letter in "abcdef"])
    aged(archive, range(1, 7))
    calls = iter(range(at))

    def killed(real: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object, **named: object) -> object:
            if next(calls, None) is None:
                raise KeyboardInterrupt
            return real(*given, **named)

        return call

    with monkeypatch.context() as patch:
        for name in ("unlink", "replace"):
            patch.setattr(os, name, killed(getattr(os, name)))
        with suppress(KeyboardInterrupt):
            archive.remove_before(1005.5, SOURCE)
    archive.remove_before(1005.5, SOURCE)
    assert [file.name for file in archive.files()] == ["e.csv", "f.csv"]
    place = archive.folder / "sourceso"
    assert sorted(path.name for path in place.glob("0*")) == ["00000005.csv.gz", "00000006.csv.gz"]
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS], cwd=place, check=True)
