"""A command that writes gets the locks of a program that gives way, which is started again afterwards."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lakehouse.errors import LockedError
from lakehouse.settings import Settings
from operate import pause
from operate.pause import pause_wanted, writers_paused
from operate.supervisor import Program, Supervisor
from tests.programs import another_process_holding, pid_of, wait_until


def say(_line: str) -> None:
    pass


def test_a_request_lasts_as_long_as_its_block(settings: Settings) -> None:
    assert pause_wanted(settings) is None
    with writers_paused(settings, ("silver",), "a test", say):
        assert pause_wanted(settings) == "a test"
    assert pause_wanted(settings) is None


def test_a_request_ends_with_its_process(settings: Settings) -> None:
    with writers_paused(settings, ("silver",), "a test", say):
        (request,) = (settings.home / "run").glob("pause-*.json")
        text = request.read_text()
    for dead in (f"pause-{2**22 + 1}.json", request.name):
        (settings.home / "run" / dead).write_text(text.replace('"born": ', '"born": 9'))
    assert pause_wanted(settings) is None, "no such process, or another one of the same id"


def test_a_program_gives_way_and_starts_again(settings: Settings, tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor(settings, said.append)
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    supervisor.start(Program("small", command, tmp_path / "small.log", gives_way=True))
    try:
        first = pid_of(settings)
        with writers_paused(settings, ("silver",), "a test", say):
            supervisor.watch()
            assert supervisor.exit_code("small") is not None
            supervisor.watch()
        supervisor.watch()
        wait_until(lambda: supervisor.exit_code("small") is None)
        assert pid_of(settings) != first
        assert said == ["small stops for a test", "small starts again"]
        assert supervisor.ended_otherwise == []
    finally:
        supervisor.stop_all()


def test_a_program_that_gives_way_and_is_not_through_is_named(settings: Settings, tmp_path: Path) -> None:
    said: list[str] = []
    supervisor, log = Supervisor(settings, said.append), tmp_path / "small.log"
    code = "import signal, sys; signal.signal(15, lambda *_: sys.exit(3)); print(flush=True); signal.pause()"
    supervisor.start(Program("small", [sys.executable, "-c", code], log, gives_way=True))
    try:
        wait_until(lambda: log.stat().st_size > 0)
        with writers_paused(settings, ("silver",), "a test", say):
            supervisor.watch()
    finally:
        supervisor.stop_all()
    assert supervisor.ended_otherwise == ["small"] and "small ended with exit code 3" in said[1]


def test_a_writer_that_does_not_end_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pause, "_GIVE_WAY_S", 0.3)
    lock = Path(settings.lake_url) / "_locks" / "silver.lock"
    lock.parent.mkdir(parents=True)
    waited: list[str] = []
    with (
        another_process_holding(lock),
        pytest.raises(LockedError, match="the writer of silver"),
        writers_paused(settings, ("silver", "gold"), "a test", waited.append),
    ):
        pass
    assert len(waited) == 1
    assert pause_wanted(settings) is None
