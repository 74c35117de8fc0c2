"""The supervisor with small programs of the system: what dies is started again, what is stopped is gone."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lakehouse.errors import ServiceError
from lakehouse.settings import Settings
from lakehouse.streams import Stop, StoppedError
from operate.programs import read_programs
from operate.supervisor import Program, Supervisor, end_leftovers
from tests.programs import pid_of, wait_until


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(settings: Settings, said: list[str]) -> Iterator[Supervisor]:
    supervisor = Supervisor(settings, said.append)
    yield supervisor
    supervisor.stop_all()


def program(tmp_path: Path, code: str, **more: object) -> Program:
    return Program("small", [sys.executable, "-c", code], tmp_path / "small.log", **more)  # type: ignore[arg-type]


def test_a_program_that_dies_is_started_again_and_that_is_said(
    supervisor: Supervisor, settings: Settings, said: list[str], tmp_path: Path
) -> None:
    supervisor.start(program(tmp_path, "import time; time.sleep(600)"))
    first = pid_of(settings)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: supervisor.watch() or pid_of(settings) != first)
    assert psutil.pid_exists(pid_of(settings))
    (line,) = said
    assert "small died (signal SIGKILL)" in line and str(tmp_path / "small.log") in line


def test_pauses_grow_while_a_program_keeps_dying(
    supervisor: Supervisor, settings: Settings, said: list[str], tmp_path: Path
) -> None:
    supervisor.start(program(tmp_path, "raise SystemExit(3)"))
    wait_until(lambda: supervisor.watch() or len(said) == 2)
    assert "exit code 3" in said[0] and "again in 1 s" in said[0]
    assert "again in 2 s" in said[1]
    (state,) = read_programs(settings)
    assert (state.called, state.is_running, state.restarts) == ("small", False, 1)
    assert state.last_end.startswith("died (exit code 3) after ") and abs(state.since_s - time.time()) < 60.0


BUSY = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep({}), exit(0)))
print("started", flush=True)
time.sleep(600)
"""


def started(supervisor: Supervisor, tmp_path: Path, code: str, **more: object) -> None:
    supervisor.start(program(tmp_path, code, **more))
    wait_until(lambda: (tmp_path / "small.log").read_text() != "")


@pytest.mark.parametrize(
    ("code", "how"), [("os._exit(7)", "exit code 7"), ("os.kill(os.getpid(), 11)", "SIGSEGV"), ("1 / 0", "exit code 1")]
)
def test_who_ends_otherwise_than_asked_is_named_and_counted(
    supervisor: Supervisor, said: list[str], tmp_path: Path, code: str, how: str
) -> None:
    ending = f"def ended(*_): {code}\nimport os, signal, time\nsignal.signal(signal.SIGTERM, ended)\n"
    started(
        supervisor, tmp_path, ending + "print('started', flush=True)\ntime.sleep(600)", title="carts that were left"
    )
    supervisor.stop_all()
    (line,) = said
    assert line.startswith("carts that were left ended with ") and how in line and str(tmp_path / "small.log") in line
    assert supervisor.ended_otherwise == ["small"]


@pytest.mark.parametrize(
    "code",
    [
        "",
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(0))",
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(143))",
    ],
)
def test_who_ends_as_asked_is_not(supervisor: Supervisor, said: list[str], tmp_path: Path, code: str) -> None:
    started(supervisor, tmp_path, f"import os, signal, time\n{code}\nprint('started', flush=True)\ntime.sleep(600)")
    supervisor.stop_all()
    assert (said, supervisor.ended_otherwise) == ([], [])


def test_who_has_work_left_is_waited_for_and_that_is_said(
    supervisor: Supervisor, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operate.supervisor._LOOK_S", 0.05)
    monkeypatch.setattr("operate.supervisor._SAY_EVERY_S", 0.2)
    started(supervisor, tmp_path, BUSY.format(1.0), stop_timeout_s=0.1)
    left = iter(["2 events to take in", "1 event to take in", *[""] * 100])
    supervisor.stop("small", lambda: 60.0, lambda: next(left))
    assert said[0].startswith("waiting for small: 2 events to take in;")
    assert said[1].startswith("waiting for small: 1 event to take in;")
    assert all(line.startswith("waiting for small; ") for line in said[2:])


def test_who_is_killed_at_its_stop_is_named(supervisor: Supervisor, said: list[str], tmp_path: Path) -> None:
    started(supervisor, tmp_path, BUSY.format(60), stop_timeout_s=0.1)
    supervisor.stop("small")
    (line,) = said
    assert "small took too long and was ended" in line and str(tmp_path / "small.log") in line


def test_a_program_with_a_title_is_called_by_it(supervisor: Supervisor, said: list[str], tmp_path: Path) -> None:
    started(supervisor, tmp_path, BUSY.format(60), stop_timeout_s=0.1, title="carts that were left")
    supervisor.stop("small")
    assert said[0].startswith("carts that were left took too long")


def test_a_stop_ends_the_wait_for_what_starts(settings: Settings, tmp_path: Path) -> None:
    stop = Stop()
    supervisor = Supervisor(settings, print, stop)
    supervisor.start(program(tmp_path, "import time; time.sleep(600)"))
    looks = iter(range(3))

    def is_ready() -> bool:
        if next(looks) == 1:
            stop.set()
        return False

    with pytest.raises(StoppedError, match="small"):
        supervisor.wait_until(is_ready, "small", timeout_s=600)
    supervisor.stop_all()


def test_all_can_be_ended_at_once_however_much_they_have_left_to_do(
    supervisor: Supervisor, settings: Settings, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operate.supervisor._END_NOW_S", 0.2)
    started(supervisor, tmp_path, BUSY.format(600), stop_timeout_s=600)
    pid = pid_of(settings)
    supervisor.end_now()
    assert not _runs(pid)
    assert end_leftovers(settings) == [] and said == []


def test_a_program_that_is_not_to_be_restarted_stays_dead(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    supervisor.start(program(tmp_path, "raise SystemExit(3)", restart=False))
    wait_until(lambda: supervisor.exit_code("small") == 3)
    supervisor.watch()
    assert said == []


def test_waiting_for_a_program_that_died_shows_the_end_of_its_log(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(program(tmp_path, "raise SystemExit('the disk is full')"))
    with pytest.raises(ServiceError, match="the disk is full"):
        supervisor.wait_until(lambda: False, "small", timeout_s=60)


def test_a_program_that_ignores_sigterm_is_killed_with_its_children(
    supervisor: Supervisor, settings: Settings, tmp_path: Path
) -> None:
    code = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
    deaf = program(tmp_path, code, stop_timeout_s=0.2)
    supervisor.start(deaf)
    wait_until(lambda: deaf.log.is_file() and deaf.log.read_text().strip() != "")
    pids = [pid_of(settings), int(deaf.log.read_text())]
    supervisor.stop("small")
    assert not any(_runs(pid) for pid in pids)


def test_what_outlives_a_killed_supervisor_is_ended_by_the_next_command(settings: Settings, tmp_path: Path) -> None:
    supervisor = Supervisor(settings, print)
    supervisor.start(program(tmp_path, "import time; time.sleep(600)"))
    pid = pid_of(settings)
    assert end_leftovers(settings) == ["small"]
    assert not _runs(pid)
    assert end_leftovers(settings) == []


def test_a_process_id_that_was_used_again_is_left_alone(settings: Settings) -> None:
    notes = settings.home / "run" / "processes.json"
    notes.parent.mkdir(parents=True)
    notes.write_text(json.dumps({"small": [os.getpid(), 1.0]}))
    assert end_leftovers(settings) == []


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
