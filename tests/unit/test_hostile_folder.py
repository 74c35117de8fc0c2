"""An input folder that others write to: what they put there is read once or left alone, and leads nowhere else."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ingest.archive import Archive
from ingest.deliveries import REASON, Deliveries
from ingest.drop import free_name
from ingest.input_folder import InputFolder, state_folder
from ingest.plain_file import open_plain
from lakehouse.errors import InputError
from lakehouse.settings import load_settings

OTHER_DISK = Path("/dev/shm")


@pytest.fixture(params=["one disk", "two disks"])
def inbox(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    if request.param == "one disk":
        (tmp_path / "input").mkdir()
        yield tmp_path / "input"
        return
    if not OTHER_DISK.is_dir() or OTHER_DISK.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only")
    with tempfile.TemporaryDirectory(dir=OTHER_DISK, prefix="lakehouse-test-") as folder:
        yield Path(folder)


@pytest.fixture
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where thousands of files are written, and no crash is meant."""
    monkeypatch.setattr(os, "fsync", lambda file: None)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "home" / "ingest" / "input"


@pytest.fixture
def private(tmp_path: Path) -> Path:
    folder = tmp_path / "private"
    folder.mkdir(mode=0o700)
    (folder / "key.pem").write_bytes(b"PRIVATE")
    (folder / "00000001-key.csv").write_bytes(b"PRIVATE")
    return folder


def opened(inbox: Path, state: Path) -> tuple[InputFolder, list[str]]:
    said: list[str] = []
    return InputFolder(inbox, Deliveries(state), 0.0, said.append), said


def taken(folder: InputFolder) -> dict[str, bytes]:
    return {delivery.name: delivery.path.read_bytes() for delivery in folder.deliveries.claimed()}


def facts(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Of all files in it: rights, time, content."""
    return {
        str(path): (path.stat().st_mode, path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in (folder, *folder.rglob("*"))
    }


def a_socket(path: Path, private: Path) -> None:
    there = Path.cwd()
    os.chdir(path.parent)  # the path of a socket is short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(there)


STRANGE: dict[str, Callable[[Path, Path], None]] = {
    "link to a folder": lambda path, private: path.symlink_to(private),
    "link to a file": lambda path, private: path.symlink_to(private / "key.pem"),
    "link to nothing": lambda path, private: path.symlink_to("nowhere"),
    "pipe": lambda path, private: os.mkfifo(path),
    "socket": a_socket,
    "folder": lambda path, private: path.mkdir(),
    "hard link": lambda path, private: os.link(private / "key.pem", path),
}
PLACES = [".lock", ".drop.lock", ".source", ".reading", "done", "failed", "_archive", "a.csv", ".taken"]


@pytest.mark.parametrize("strange", STRANGE)
def test_nothing_strange_is_followed_waited_for_or_removed(
    strange: str, inbox: Path, state: Path, private: Path
) -> None:
    """Before the start, and exchanged while it runs."""
    if strange == "hard link" and inbox.stat().st_dev != private.stat().st_dev:
        pytest.skip("hard links stay on their disk")
    for name in PLACES:
        STRANGE[strange](inbox / name, private)
    before = facts(private), sorted(path.name for path in inbox.iterdir())
    folder, said = opened(inbox, state)
    for number in (1, 2):
        folder.claim(above=0)
        assert taken(folder) == ({} if number == 1 else {"b.csv": b"good"})
        (inbox / "b.csv").write_bytes(b"good")
    assert folder.count() == 2  # the one that was taken, and its successor: nothing strange is waited for
    (inbox / "b.csv").unlink()
    again, _ = opened(inbox, state)
    again.claim(above=0)
    assert (facts(private), sorted(path.name for path in inbox.iterdir())) == before
    assert [line for line in said if line.startswith("a.csv: passed over: ")] and len(said) == len(set(said))


@pytest.mark.parametrize("strange", STRANGE)
def test_what_is_opened_is_judged(strange: str, tmp_path: Path, private: Path) -> None:
    """Also when it has become so since it was looked at."""
    STRANGE[strange](tmp_path / "a.csv", private)
    with pytest.raises(InputError, match=r"a\.csv: (not a file|the file has another name)"):
        open_plain(tmp_path / "a.csv")


@pytest.mark.parametrize("place", ["", "reading", "done", "failed"])
def test_our_own_places_are_no_links(place: str, inbox: Path, state: Path, private: Path) -> None:
    before = facts(private)
    (state / place).parent.mkdir(parents=True, exist_ok=True)
    (state / place).symlink_to(private)
    with pytest.raises(InputError, match="is a link"):
        Deliveries(state)
    assert facts(private) == before


def test_nobody_else_may_look_into_our_places(inbox: Path, state: Path) -> None:
    state.mkdir(parents=True)
    state.chmod(0o755)
    opened(inbox, state)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (state, *state.iterdir())} == {0o700}


@pytest.mark.usefixtures("_quick_disk")
def test_a_file_that_is_exchanged_all_the_time_never_leads_elsewhere(inbox: Path, state: Path, private: Path) -> None:
    folder, _ = opened(inbox, state)
    before, enough, failures, exchanges, read = facts(private), threading.Event(), list[BaseException](), 0, 0

    def exchange() -> None:
        nonlocal exchanges
        aside = inbox / ".aside"
        try:
            while not enough.is_set():
                exchanges += 1
                if exchanges % 2:
                    aside.symlink_to(private / "key.pem")
                else:
                    aside.write_bytes(b"good")
                aside.replace(inbox / "a.csv")
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=exchange)
    thread.start()
    end_s = time.monotonic() + 60
    try:
        while (exchanges < 3_000 or not read) and not failures and time.monotonic() < end_s:
            folder.claim(above=0)
            for delivery in folder.deliveries.claimed():
                with suppress(InputError), delivery.open() as file:
                    assert file.read() in (b"good", b"")
                    read += 1
                folder.deliveries.forget(delivery)
    finally:
        enough.set()
        thread.join()
    assert not failures and read
    assert facts(private) == before


def test_what_is_done_and_was_exchanged_is_not_archived(inbox: Path, state: Path, private: Path) -> None:
    (inbox / "a.csv").write_bytes(b"good")
    folder, _ = opened(inbox, state)
    folder.claim(above=0)
    folder.deliveries.finish(folder.deliveries.claimed()[0])
    (delivery,) = folder.deliveries.finished()
    delivery.path.unlink()
    delivery.path.symlink_to(private / "key.pem")
    (state / "done" / "x.csv").write_bytes(b"stray")
    (state / "done" / "more").mkdir()
    archive = Archive(state / "archive")
    with pytest.raises(InputError):
        archive.take(delivery, "source")
    assert archive.files() == []
    folder.deliveries.fail(delivery, "")
    assert folder.deliveries.finished() == []


LETTERS = ["a", "\U0001f600", "\udcff", "\n"]


@pytest.mark.usefixtures("_quick_disk")
@pytest.mark.parametrize("letter", LETTERS, ids=["ascii", "four bytes", "no utf-8", "line feed"])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_names_of_every_length_are_taken_refused_and_archived(
    letter: str, suffix: str, inbox: Path, state: Path
) -> None:
    width = len(os.fsencode(letter))
    names = [letter * count + suffix for count in range(1, (255 - len(suffix)) // width + 1)]
    for name in names:
        (inbox / name).write_bytes(name.encode(errors="surrogateescape"))
    folder, said = opened(inbox, state)
    folder.claim(above=0)
    claimed, archive = folder.deliveries.claimed(), Archive(state.parent / "archive")
    assert [delivery.name for delivery in claimed] == sorted(names)
    assert (folder.count(), list(inbox.iterdir()), said) == (len(names), [], [])
    for delivery in claimed:
        if delivery.number % 2:
            aside = folder.deliveries.fail(delivery, "a reason")
            assert (aside / REASON).read_text() == "a reason"
        else:
            folder.deliveries.finish(delivery)
    for delivery in folder.deliveries.finished():
        archive.take(delivery, "source")
        folder.deliveries.forget(delivery)
    assert folder.count() == 0
    assert [file.name for file in archive.files()] == sorted(names)[1::2]
    assert all(len(os.fsencode(free_name(inbox, name))) <= 255 for name in names)


def test_what_cannot_be_taken_is_not_waited_for(inbox: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.csv", "b.csv"):
        (inbox / name).write_bytes(b"x")
    folder, said = opened(inbox, state)
    rename = os.rename

    def refuse(source: object, target: object, **places: int) -> None:
        if source == "a.csv":
            raise PermissionError(1, "Operation not permitted")
        rename(source, target, **places)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "rename", refuse)
    for _ in range(3):
        folder.claim(above=0)
    assert (taken(folder), folder.count()) == ({"b.csv": b"x"}, 1)
    assert said == ["a.csv: cannot be taken: Operation not permitted; it is tried again"]
    assert [delivery.number for delivery in folder.deliveries.claimed()] == [1]


def test_a_file_that_cannot_be_copied_yet_holds_back_those_behind_it(
    inbox: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if inbox.stat().st_dev == state.parent.parent.parent.stat().st_dev:
        pytest.skip("nothing is copied on one disk")
    folder, _ = opened(inbox, state)
    for name in ("a.csv", "b.csv"):
        (inbox / name).write_bytes(name.encode())

    def full(*given: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", full)
        for _ in range(2):
            with pytest.raises(OSError, match="No space left"):
                folder.claim(above=0)
            assert taken(folder) == {}
    folder.claim(above=0)
    assert taken(folder) == {"a.csv": b"a.csv", "b.csv": b"b.csv"}
    assert list(inbox.iterdir()) == []


def test_a_claim_costs_the_same_however_many_files_were_read_before(
    inbox: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = opened(inbox, state)
    scandir, listed = os.scandir, list[object]()
    monkeypatch.setattr(os, "scandir", lambda place: listed.append(place) or scandir(place))
    costs = []
    for count in (1, 30, 1):
        for number in range(count):
            (inbox / f"{number:04}.csv").write_bytes(b"x")
        listed.clear()
        folder.claim(above=0)
        costs.append([place for place in listed if not isinstance(place, int)])
        for delivery in folder.deliveries.claimed():
            with delivery.open() as file:
                assert folder.is_ready(delivery.number, file.fileno())
            folder.deliveries.fail(delivery, "")
    assert len(costs[1]) == len(costs[2]) <= 2
    folder.claim(above=0)
    assert not folder._seen, "what was read is forgotten"


class Killed(BaseException):
    """Here the process ends, as by kill -9."""


CALLS = ["mkdir", "rename", "replace", "unlink", "fsync", "utime", "open", "rmdir"]


@contextmanager
def killed_at(number: int) -> Iterator[None]:
    """The process ends before the call of this number that changes anything; handlers can change nothing then."""
    calls = iter(range(number))

    def watched(real: Callable[..., object]) -> Callable[..., object]:
        def call(*given: object, **named: object) -> object:
            if next(calls, None) is None:
                raise Killed
            return real(*given, **named)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, watched(getattr(os, name)))
        yield


@pytest.mark.usefixtures("_quick_disk")
def test_killed_anywhere_each_file_is_taken_once_and_in_order(inbox: Path, state: Path) -> None:
    names, numbers = ["a.csv", "b.csv", "c.csv"], list[int]()
    for at in range(200):
        for name in names:
            (inbox / name).write_bytes(name.encode())
            os.utime(inbox / name, ns=(1_000_000_000, 123_456_789_123))
        was_killed = False
        try:
            with killed_at(at):
                opened(inbox, state)[0].claim(above=0)
        except Killed:
            was_killed = True
        folder, _said = opened(inbox, state)
        folder.claim(above=0)
        found = folder.deliveries.claimed()
        assert [(delivery.name, delivery.path.read_bytes()) for delivery in found] == [
            (name, name.encode()) for name in names
        ], f"killed at {at}"
        assert {delivery.path.stat().st_mtime_ns for delivery in found} == {123_456_789_123}
        assert list(inbox.iterdir()) == [], f"killed at {at}"
        numbers += [delivery.number for delivery in found]
        for delivery in found:
            folder.deliveries.finish(delivery)
        if not was_killed:
            break
    assert not was_killed and at > 10
    assert numbers == sorted(set(numbers))
    assert list((state / "reading").iterdir()) == list((state / "failed").iterdir()) == []


ID = "0123456789abcdef0123456789abcdef"


def of_the_version_before(inbox: Path, private: Path) -> None:
    for name in (".reading", "done", "failed"):
        (inbox / name).mkdir()
    (inbox / ".source").write_text(f"{ID}\n")
    (inbox / ".lock").write_text("17")
    (inbox / ".reading" / "00000007-b-c.csv").write_bytes(b"reading")
    os.utime(inbox / ".reading" / "00000007-b-c.csv", ns=(1, 123_456_789_123))
    (inbox / ".reading" / "00000009-link.csv").symlink_to(private / "key.pem")
    (inbox / "done" / "00000006-\udcff\n.csv.gz").write_bytes(b"done")
    (inbox / "done" / "x.csv").write_bytes(b"stray")
    (inbox / "failed" / "00000005-bad.csv").write_bytes(b"bad")


def test_an_input_folder_of_the_version_before_goes_on(inbox: Path, state: Path, private: Path) -> None:
    before = facts(private)
    of_the_version_before(inbox, private)
    at, was_killed = 0, True
    while was_killed:
        was_killed = False
        try:
            with killed_at(at):
                opened(inbox, state)
        except Killed:
            was_killed = True
        at += 1
    assert at > 12
    (inbox / "a.csv").write_bytes(b"new")
    folder, _ = opened(inbox, state)
    folder.claim(above=0)
    assert folder.deliveries.source_id("fresh") == ID
    claimed = {delivery.number: delivery for delivery in folder.deliveries.claimed()}
    assert (claimed[7].name, claimed[7].path.read_bytes()) == ("b-c.csv", b"reading")
    assert claimed[7].path.stat().st_mtime_ns == 123_456_789_123
    assert max(claimed) >= 8 and claimed[max(claimed)].name == "a.csv"
    (done,) = folder.deliveries.finished()
    assert (done.number, done.name, done.path.read_bytes()) == (6, "\udcff\n.csv.gz", b"done")
    assert (inbox / "failed" / "00000005-bad.csv").read_bytes() == b"bad"
    assert facts(private) == before
    if 9 in claimed:
        with pytest.raises(InputError):
            claimed[9].open()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of others")
@pytest.mark.parametrize("strange", [".source", ".reading"])
def test_what_another_account_calls_our_state_is_not_believed(
    strange: str, inbox: Path, state: Path, private: Path
) -> None:
    of_the_version_before(inbox, private)
    os.chown(inbox / strange, 65534, 65534)
    folder, said = opened(inbox, state)
    folder.claim(above=0)
    assert taken(folder) == {}
    assert (inbox / ".reading" / "00000007-b-c.csv").read_bytes() == b"reading"
    assert (folder.deliveries.source_id("fresh") == ID) == (strange == ".reading")
    if strange == ".reading":
        assert any(".reading is not taken over: it belongs to another account" in line for line in said)


def test_a_source_is_named_by_the_real_path_of_its_folder(tmp_path: Path) -> None:
    home = tmp_path / "home"
    inside = load_settings(home=home)
    assert state_folder(inside) == home / "ingest" / "input"
    names = {
        state_folder(load_settings(home=home, input_folder=str(tmp_path / name))).name
        for name in ("a b", "a_b", "x" * 200 + "1", "x" * 200 + "2", "input")
    }
    assert len(names) == 5 and all(len(name) <= 60 for name in names)
    (tmp_path / "alias").symlink_to(tmp_path / "a_b")
    alias = load_settings(home=home, input_folder=str(tmp_path / "alias"))
    assert state_folder(alias).name in names
    (tmp_path / "moved").mkdir()
    moved = load_settings(home=tmp_path / "moved")
    assert state_folder(moved).relative_to(moved.home) == state_folder(inside).relative_to(home)
