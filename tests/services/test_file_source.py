"""The input folder into a real Kafka: each row once, whatever stops the source and whatever lies in the folder."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingest.archive import Archive, replay
from ingest.console import Progress
from ingest.csv_records import csv_records
from ingest.deliveries import REASON, Deliveries, Delivery, deliveries
from ingest.drop import drop_all, drop_lock
from ingest.event_batch import HEADER
from ingest.file_source import FileSource, Sent
from ingest.input_folder import input_folder, state_folder
from ingest.positions import read_position
from ingest.split import split
from lakehouse.errors import ServiceError
from lakehouse.settings import Settings
from operate.feed import feed
from operate.services.kafka import KafkaBroker
from tests.chaos.small_disk import SmallDisk
from tests.services.sinks import wait_for
from tests.services.store import committed, store_in, values

REPOSITORY = Path(__file__).parents[2]
REAL_ROWS = REPOSITORY.parent / "shared" / "data"
ROW = b"2019-10-01 00:14:54 UTC,cart,4497,1487580006895846315,,runail,3.11,554342223,0b974342\n"
NOBODY = 65534
OTHER_DISK = Path("/dev/shm")


@pytest.fixture
def store(kafka_broker: KafkaBroker, tmp_path: Path) -> Settings:
    return store_in(kafka_broker, tmp_path).model_copy(update={"file_settle_s": 0.0})


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    if not OTHER_DISK.is_dir() or OTHER_DISK.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only")
    with tempfile.TemporaryDirectory(dir=OTHER_DISK, prefix="lakehouse-test-") as folder:
        yield Path(folder)


def source(
    settings: Settings,
    say: Callable[[str], None] = lambda line: None,
    on_progress: Callable[[Sent], None] = lambda sent: None,
    should_stop: Callable[[], bool] = lambda: False,
    rate_per_s: float = 0.0,
) -> FileSource:
    folder, archive = input_folder(settings, say), Archive(settings.archive_path)
    return FileSource(folder, archive, settings, say, on_progress, should_stop, rate_per_s)


def put(settings: Settings, name: str, content: bytes) -> Path:
    settings.input_path.mkdir(parents=True, exist_ok=True)
    path = settings.input_path / name
    path.write_bytes(content)
    return path


def rows(count: int, first: int = 0) -> bytes:
    """So many different rows of a few users."""
    numbers = range(first, first + count)
    return b"".join(ROW.replace(b"4497", b"%d" % n).replace(b"554342223", b"%d" % (n % 50)) for n in numbers)


def products(settings: Settings) -> list[int]:
    return sorted(int(json.loads(m.value() or b"")["product_id"]) for m in committed(settings, settings.events_topic))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def archived(settings: Settings) -> list[str]:
    return [file.name for file in Archive(settings.archive_path).files()]


def refused(settings: Settings) -> dict[str, str]:
    """Files that were set aside: the names they came with, and why."""
    failed = deliveries(state_folder(settings) / "failed")
    return {delivery.name: (delivery.folder / REASON).read_text() for delivery in failed}


def real_days(settings: Settings, folder: Path) -> list[Path]:
    """The real files, split and dropped at full speed. Out: the files as they are given."""
    files = sorted(REAL_ROWS.glob("*.csv"), key=lambda path: path.read_bytes()[120:140])
    split(files, folder)
    drop_all(folder, settings.input_path, 0.0, drop_lock(settings))
    return files


def assert_in_file_order(settings: Settings, files: list[Path]) -> None:
    """Each user's records are those of the files, and in their order."""
    expected, found = defaultdict(list), defaultdict(list)
    records = [record for path in files for record in csv_records(path)]
    for record in sorted(records, key=lambda record: json.loads(record.value)["event_time"][:10]):  # by day, as split
        expected[record.key].append(record.value)
    for message in committed(settings, settings.events_topic):
        found[message.key()].append(message.value())
    assert found == expected
    assert sum(map(len, found.values())) == 45_029


real = pytest.mark.skipif(not REAL_ROWS.is_dir(), reason="the 45,029 real rows are not beside the project")


@real
def test_real_files_arrive_once_in_order_and_come_back_from_the_archive(store: Settings, tmp_path: Path) -> None:
    files = real_days(store, tmp_path / "days")
    days = names(store.input_path)
    sent = source(store).run(once=True)
    assert (sent.rows, sent.files, sent.unreadable, sent.failed) == (45_029, len(days), 0, 0)
    assert_in_file_order(store, files)
    assert names(state_folder(store) / "done") == names(store.input_path) == []
    assert len(archived(store)) == sent.files
    (place,) = (path for path in store.archive_path.iterdir())
    checked = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=place, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout

    assert replay(Archive(store.archive_path), ["2019-10-0"], store.input_path, Progress()) == 9
    again = source(store).run(once=True)
    assert values(store).total() == 45_029 + again.rows
    assert len(archived(store)) == sent.files + 9


@real
@pytest.mark.parametrize("where", ["in the home", "on another disk"])
def test_kill_9_at_any_point_loses_and_doubles_nothing(
    where: str, store: Settings, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if where == "on another disk":
        store = store.model_copy(update={"input_folder": str(request.getfixturevalue("other_disk"))})
    files = real_days(store, tmp_path / "days")
    seed = random.SystemRandom().randrange(1_000_000)
    chance = random.Random(seed)
    command = [sys.executable, "-m", "ingest.file_source", "--once", "--rate", "6000"]
    said = []
    for number in range(6):
        process = subprocess.Popen(
            command, env=os.environ | store.as_environment(), cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        first = process.stderr.readline()
        assert "watching" in first, first
        if number == 0:  # however slow the machine is, one is killed in the middle of its work
            wait_for(lambda: values(store).total() > 0, "nothing is sent")
        time.sleep(chance.uniform(0.0, 0.6))
        process.kill()
        said.append(process.communicate()[1])
    before = values(store).total()
    print(f"seed {seed}: {before} rows before the last start")
    assert 0 < before < 45_029, "the kills came before or after the work"
    source(store).run(once=True)
    assert values(store).total() == 45_029
    assert_in_file_order(store, files)
    assert sum("resumed" in text for text in said) > 0 or before > 0


def test_a_stopped_source_goes_on_inside_a_file(store: Settings) -> None:
    put(store, "a.csv", HEADER + rows(5_000))
    left = iter(range(6))
    first = source(store, should_stop=lambda: next(left, None) is None, rate_per_s=4_000)
    assert 0 < first.run().rows < 5_000
    said: list[str] = []
    source(store, said.append).run(once=True)
    assert said[0].startswith("a.csv: resumed at line ")
    assert products(store) == list(range(5_000))


def test_a_second_source_fences_the_first_off(store: Settings) -> None:
    put(store, "a.csv", rows(3_000))
    other: list[Sent] = []

    def take_over(sent: Sent) -> None:
        if not other:
            other.append(source(store).run(once=True))

    with pytest.raises(ServiceError, match="one source for a folder"):
        source(store, on_progress=take_over, rate_per_s=4_000).run(once=True)
    assert products(store) == list(range(3_000))


def test_killed_between_the_last_commit_and_the_move_a_file_is_not_sent_again(store: Settings) -> None:
    put(store, "a.csv", rows(10))
    source(store).run(once=True)
    first = source(store)
    position = read_position(store, first._id)
    again = Delivery(position.number, "a.csv", state_folder(store) / "reading" / f"{position.number:08}")
    again.folder.mkdir()
    again.path.write_bytes(rows(10))
    first.run(once=True)
    assert products(store) == list(range(10))


def test_two_files_of_one_name_or_one_content_are_two_files(store: Settings) -> None:
    for content in (rows(10), rows(10, 10), rows(10)):
        put(store, "a.csv", content)
        source(store).run(once=True)
    assert products(store) == sorted([*range(10), *range(10), *range(10, 20)])
    assert archived(store) == ["a.csv", "a.csv", "a.csv"]
    assert [file.path.name for file in Archive(store.archive_path).files()] == [f"0000000{n}.csv.gz" for n in (1, 2, 3)]


def test_a_hostile_folder_never_stops_the_source(store: Settings) -> None:
    huge = ROW.replace(b"runail", b"x" * 10_000_000)
    bad = [b"oops\n", ROW[:-1] + b",junk\n", ROW.replace(b"runail", b"\xff"), ROW.replace(b"runail", b'"a')]
    put(store, "00-empty.csv", b"")
    put(store, "01-header.csv", HEADER)
    put(store, "02-binary.csv", b"\x7fELF" + bytes(1000))
    put(store, "03-huge.csv", HEADER + rows(1, 1) + huge + rows(1, 2))
    put(store, "04-crlf.csv", (HEADER + rows(2, 3)).replace(b"\n", b"\r\n"))
    put(store, "05-mark.csv", b"\xef\xbb\xbf" + HEADER + rows(1, 5))
    put(store, "06-quotes.csv", HEADER + rows(1, 6).replace(b"runail", b'"a, ""b"""'))
    put(store, "07-broken.csv", HEADER + rows(1, 7) + b"".join(bad) + rows(1, 8))
    odd = rows(1, 9).replace(b"3.11", b"03.02").replace(b"1487580006895846315", b"1.48758E+18")
    put(store, "08-odd.csv", odd)
    put(store, "09-packed.csv.gz", gzip.compress(HEADER + rows(1, 10)))
    put(store, "10-cut.csv.gz", gzip.compress(HEADER + rows(20_000, 1_000))[:-100])
    put(store, "11-truncated.csv", HEADER + rows(1, 11) + ROW[:20])
    put(store, "12-\udcff\U0001f600.csv", rows(1, 12))
    put(store, "notes.txt", b"hello")
    (store.input_path / "x.csv").mkdir()
    (store.input_path / "link.csv").symlink_to("00-empty.csv")
    said: list[str] = []
    sent = source(store, said.append).run(once=True)

    found = [n for n in products(store) if n < 1000]
    assert found == list(range(1, 13))
    brands = {json.loads(m.value() or b"")["brand"] for m in committed(store, store.events_topic)}
    assert brands == {"runail", 'a, "b"'}
    events = [json.loads(m.value() or b"") for m in committed(store, store.events_topic)]
    assert [(e["price"], e["category_id"]) for e in events if e["product_id"] == "9"] == [("03.02", "1.48758E+18")]

    aside = {m.value(): dict(m.headers() or []) for m in committed(store, store.unreadable_topic)}
    assert [aside[line]["line"] for line in bad] == [b"3", b"4", b"5", b"6"]
    assert aside[b"oops\n"] == {
        "file": b"07-broken.csv",
        "line": b"3",
        "bytes": b"5",
        "reason": b"1 columns instead of 9",
        "number": b"8",
    }
    assert aside[huge[:65_536]]["sha256"] == hashlib.sha256(huge).hexdigest().encode()
    assert ROW[:20] in aside and huge[:65_536] in aside and len(aside) == 6
    assert sent.unreadable == 6

    why = refused(store)
    assert sorted(why) == ["02-binary.csv", "10-cut.csv.gz"]
    assert "a zero byte at byte 4" in why["02-binary.csv"]
    assert "ended before the end" in why["10-cut.csv.gz"]
    assert f"Its first {sum(n >= 1000 for n in products(store))} rows" in why["10-cut.csv.gz"]
    assert names(store.input_path) == ["link.csv", "notes.txt", "x.csv"]
    (big,) = (file for file in Archive(store.archive_path).files() if file.name == "03-huge.csv")
    assert gzip.decompress(big.path.read_bytes()).count(huge) == 1
    assert int(aside[huge[:65_536]]["number"]) == int(big.path.name[:8])
    assert sent.failed == 2 and len(archived(store)) == 11
    for name, what in (("notes.txt", "not *.csv"), ("x.csv", "not a file"), ("link.csv", "not a file")):
        assert sum(line.startswith(name) and what in line for line in said) == 1


def test_a_file_that_is_being_written_is_not_read(store: Settings) -> None:
    settled = store.model_copy(update={"file_settle_s": 0.3})
    with put(store, "a.csv", rows(10)).open("ab") as writer:
        assert source(settled).run(once=True).rows == 0
        writer.write(rows(10, 10))
    assert source(settled).run(once=True).rows == 20
    assert products(store) == list(range(20))


def test_a_file_that_is_replaced_while_it_is_read_is_two_files(store: Settings) -> None:
    put(store, "a.csv", rows(2_000))
    source(store, on_progress=lambda sent: _once(store, "a.csv", rows(10, 5_000)), rate_per_s=8_000).run(once=True)
    assert products(store) == [*range(2_000), *range(5_000, 5_010)]


def test_a_file_that_is_changed_in_place_while_it_is_read_is_set_aside(store: Settings) -> None:
    put(store, "a.csv", rows(3_000))

    def grow(sent: Sent) -> None:
        for delivery in deliveries(state_folder(store) / "reading"):
            with delivery.path.open("ab") as file:
                file.write(rows(1, 9_000))

    said: list[str] = []
    sent = source(store, said.append, grow, rate_per_s=4_000).run(once=True)
    assert (sent.failed, sent.rows) == (1, 1_000)
    assert any("changed while it was read" in line for line in said)
    assert "Its first 1000 rows" in refused(store)["a.csv"]


def test_files_that_may_not_be_read_are_set_aside(store: Settings) -> None:
    put(store, "a.csv", rows(10)).chmod(0)
    put(store, "b.csv", rows(10, 10))
    with as_nobody(store.home.parent):
        sent = source(store).run(once=True)
    assert (sent.failed, sent.rows) == (1, 10)
    assert "Permission denied" in refused(store)["a.csv"]


def test_a_full_disk_stops_nothing_and_loses_nothing(store: Settings, tmp_path: Path) -> None:
    try:
        disk = SmallDisk(tmp_path / "small", size_mb=2)
    except OSError as error:
        pytest.skip(f"no small filesystem: {error}")
    settings = store.model_copy(update={"home": disk.folder / "home", "archive_folder": str(tmp_path / "archive")})
    try:
        put(settings, "a.csv", rows(1_000))
        put(settings, "b.csv", b"\0" * 100)
        said: list[str] = []

        def say(line: str) -> None:
            said.append(line)
            if "No space" in line:
                disk.free()

        full = source(settings, say)
        disk.fill()
        full.run(once=True)
        assert any("No space left on device" in line for line in said), said
        assert products(settings) == list(range(1_000))
        assert list(refused(settings)) == ["b.csv"]
    finally:
        disk.unmount()


@pytest.mark.parametrize("bomb", [b"x" * (100 << 20), ROW * 350_000], ids=["one row", "good rows"])
def test_a_bomb_takes_no_more_disk_than_its_file(store: Settings, bomb: bytes) -> None:
    packed = gzip.compress(HEADER + ROW + bomb + b"\n")
    put(store, "a.csv.gz", packed)
    put(store, "b.csv", rows(10))
    sent = source(store).run(once=True)
    assert (sent.failed, sent.files) == (1, 1)
    assert "it unpacks to more than 100 times its size" in refused(store)["a.csv.gz"]
    kept = sum(path.stat().st_size for path in (store.home / "ingest").rglob("*") if path.is_file())
    assert kept <= len(packed) + 65_536


def test_files_are_kept_as_long_as_the_setting_says(store: Settings) -> None:
    for name, content in (("a.csv", rows(1)), ("b.csv", rows(1, 1)), ("bad.csv", b"\0")):
        put(store, name, content)
    source(store).run(once=True)
    for file in Archive(store.archive_path).files():
        os.utime(file.path, (1000.0, 1000.0))
    source(store).run(once=True)
    assert (archived(store), list(refused(store))) == (["a.csv", "b.csv"], ["bad.csv"])
    source(store.model_copy(update={"file_retention_days": 1})).run(once=True)
    assert (archived(store), list(refused(store))) == (["b.csv"], ["bad.csv"]), "that was refused just now"
    Deliveries(state_folder(store)).remove_before(time.time() + 1)
    assert not refused(store)


def test_names_that_are_as_long_as_may_be_stop_nothing(store: Settings) -> None:
    """Good and bad: a source that could not set one aside, or not take it, stood still for good."""
    lengths = [*range(225, 256), *range(1, 8)]
    for number, length in enumerate(lengths):
        put(store, ("g" * length + ".csv")[-length:] if length > 4 else "g.csv", rows(1, number))
        put(store, ("b" * length + ".csv")[-length:] if length > 4 else "b.csv", b"\0")
    given = names(store.input_path)
    said: list[str] = []
    sent = source(store, said.append).run(once=True)
    assert (sent.files, sent.failed) == (len(given) // 2, len(given) // 2)
    assert not [line for line in said if "tried again" in line]
    assert sorted([*archived(store), *refused(store)]) == given


def test_a_feed_that_was_stopped_goes_on_and_a_finished_one_begins_anew(store: Settings, tmp_path: Path) -> None:
    days = b"".join(rows(4_000, 4_000 * day).replace(b"2019-10-01", b"2019-10-%02d" % (day + 1)) for day in range(3))
    month = tmp_path / "2019-Oct.csv"
    month.write_bytes(days)
    for calls in (1, 7):
        left = iter(range(calls))
        feed([month], store, Progress(), lambda left=left: next(left, None) is None)
    assert feed([month], store, Progress(), lambda: False) == 0
    assert products(store) == list(range(12_000))
    assert month.read_bytes() == days
    feed([month], store, Progress(), lambda: False)
    assert values(store).total() == 24_000


def test_the_command_says_what_it_did_and_ends_cleanly(store: Settings) -> None:
    put(store, "a.csv", HEADER + rows(10))
    environment = os.environ | store.as_environment()
    command = [sys.executable, "-m", "ingest.file_source"]
    process = subprocess.Popen(command, env=environment, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    lines = [process.stderr.readline() for _ in range(2)]
    assert lines[0].startswith("watching ") and lines[1].startswith("a.csv: 10 rows in ")
    once = [*command, "--once"]
    second = subprocess.run(once, env=environment, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert second.returncode == 1 and f"Process {process.pid} is the source of" in second.stderr
    process.terminate()
    assert process.communicate(timeout=20)[1].strip() == "10 rows of 1 files sent, 0 of them unreadable; 0 files failed"
    assert process.returncode == 0


def _once(store: Settings, name: str, content: bytes) -> None:
    marker = store.home / "replaced"
    if not marker.exists():
        marker.touch()
        put(store, name, content)


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """For as long, this process may read no more than a user without rights. Not for root: root already is no more."""
    if os.geteuid():
        yield
        return
    for place in (folder, *folder.rglob("*")):
        os.chown(place, NOBODY, NOBODY)
    opened = []
    for place in folder.parents:
        if place.stat().st_uid == 0 and not place.stat().st_mode & 1:  # also for our group, which stays root's
            opened.append((place, place.stat().st_mode))
            place.chmod(place.stat().st_mode | 0o11)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        for place, mode in opened:
            place.chmod(mode)
