"""The folder of logs stays within its bound, whatever programs write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from lakehouse.logs import bound
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from operate.services import process
from operate.stack import running_stack
from operate.supervisor import Program
from tests.programs import wait_until

MB = 1024 * 1024
SPAM = "import sys\nfor number in range(300_000): print(f'line {number:06}', 'x' * 40, flush=number % 100 == 0)\n"
GONE = next(pid for pid in range(2**22 - 1, 1, -1) if not psutil.pid_exists(pid))


@pytest.fixture
def small(settings: Settings) -> Settings:
    small = settings.model_copy(update={"logs_mb": 1})
    small.logs.mkdir(parents=True)
    return small


def total(settings: Settings) -> int:
    return sum(path.stat().st_size for path in settings.logs.iterdir())


def test_programs_that_write_without_end_stay_within_the_bound(small: Settings) -> None:
    """17 MB each, of which the last lines are there."""
    most, ended = 0, set[str]()
    with running_stack(small, print, Stop()) as stack:
        for name in ("one", "two"):
            log = small.logs / f"{name}.log"
            stack.supervisor.start(Program(name, [sys.executable, "-c", SPAM], log, restart=False))

        def are_through() -> bool:
            nonlocal most
            most = max(most, total(small))
            ended.update(name for name in ("one", "two") if stack.supervisor.exit_code(name) is not None)
            return len(ended) == 2

        wait_until(are_through)
    assert total(small) <= MB
    for name in ("one", "two"):
        lines = [line for path in sorted(small.logs.glob(f"{name}.log*"), reverse=True) for line in _lines(path)]
        assert int(lines[-1].split()[1]) > 299_000 and len(lines) > 500


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="ascii", errors="replace").strip("\0").splitlines()


def test_its_writer_goes_on_in_the_same_file(small: Settings) -> None:
    log = small.logs / "a.log"
    writer = process.spawn([sys.executable, "-c", "for line in iter(input, ''): pass"], log)
    writer.kill()
    writer.wait()
    with log.open("ab") as file:
        file.write(b"x" * (MB // 16) + b"\nlast\n")
        file.flush()
        bound(small)
        file.write(b"next\n")
    assert log.read_bytes() == b"next\n"
    assert (small.logs / "a.log.1").read_bytes().endswith(b"x\nlast\n")
    assert (small.logs / "a.log.1").stat().st_size == MB // 16


def test_a_home_of_before_is_cleaned(small: Settings) -> None:
    """Spark had a log for each process that ever was; the newest stay, and those that are written."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as living:
        for number in range(100):
            path = small.logs / f"spark-{GONE + number if number else living.pid}.log"
            path.write_bytes(b"x" * 1000)
            os.utime(path, (number, number))
        bound(small)
        left = {path.name for path in small.logs.iterdir()}
        assert left == {f"spark-{living.pid}.log", *(f"spark-{GONE + number}.log" for number in range(90, 100))}


def test_rolled_files_go_the_oldest_first_and_none_that_is_written(small: Settings) -> None:
    for age, name in enumerate(["kafka.log", "kafka.log.1", "pipeline.log.1", "sink.log.1", "sink.log"]):
        (small.logs / name).write_bytes(b"x" * (MB * 5 // 16 if name.endswith("1") else 60_000))
        os.utime(small.logs / name, (1000 - age, 1000 - age))
    bound(small)
    assert {path.name for path in small.logs.iterdir()} == {"kafka.log", "kafka.log.1", "pipeline.log.1", "sink.log"}


def test_a_link_is_not_followed(small: Settings, tmp_path: Path) -> None:
    (tmp_path / "theirs").write_bytes(b"x" * 2 * MB)
    (small.logs / "a.log").symlink_to(tmp_path / "theirs")
    bound(small)
    assert (tmp_path / "theirs").stat().st_size == 2 * MB
