"""Ctrl-C once: what is in work is finished. Twice: everything ends at once, and nothing is left running."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from lakehouse.errors import ServiceError
from lakehouse.settings import Settings
from lakehouse.streams import Stop, StoppedError
from operate.ready import is_ready, say_ready
from operate.stack import Stack, running_stack, up
from operate.supervisor import Program
from tests.java_runtime import runtime

BUSY = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


@pytest.fixture
def stop() -> Iterator[Stop]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield Stop().listen()
    for number, handler in before.items():
        signal.signal(number, handler)


def start(stack: Stack, tmp_path: Path, code: str = "import time; time.sleep(600)") -> psutil.Process:
    program = Program("small", [sys.executable, "-c", code], tmp_path / "small.log", stop_timeout_s=600)
    stack.supervisor.start(program)
    if code == BUSY:
        stack.supervisor.wait_until(lambda: program.log.read_text() != "", "small", 60)
    notes = json.loads((stack.settings.home / "run" / "processes.json").read_text())
    return psutil.Process(int(notes["small"][0]))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_wish(stop: Stop, number: signal.Signals) -> None:
    signal.raise_signal(number)
    assert stop.is_set()


def test_a_second_ctrl_c_ends_at_once_what_would_not_end(stop: Stop, settings: Settings, tmp_path: Path) -> None:
    said = list[str]()
    with pytest.raises(KeyboardInterrupt), running_stack(settings, said.append, stop) as stack:
        deaf = start(stack, tmp_path, BUSY)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    assert not deaf.is_running()
    assert said == ["ending at once; what has not been taken in is taken in at the next start"]


def test_a_second_ctrl_c_while_programs_are_stopped(
    stop: Stop, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operate.supervisor._SAY_EVERY_S", 0.1)

    def say(line: str) -> None:
        if "waiting for small" in line:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), running_stack(settings, say, stop) as stack:
        deaf = start(stack, tmp_path, BUSY)
        signal.raise_signal(signal.SIGINT)
    assert not deaf.is_running()


def test_all_runs_when_each_slower_program_has_said_so_itself(stop: Stop, settings: Settings, tmp_path: Path) -> None:
    code = "import sys, time; from operate.ready import say_ready; from lakehouse.settings import Settings; "
    code += f"say_ready(Settings(home={str(settings.home)!r}), sys.argv[1]); time.sleep(600)"
    say_ready(settings, "carts")  # of an earlier run
    with running_stack(settings, lambda _: None, stop) as stack:
        for name, runs in (("rounds", code), ("carts", "import time; time.sleep(600)")):
            stack.supervisor.start(Program(name, [sys.executable, "-c", runs, name], tmp_path / name, stop_timeout_s=1))
        rounds = stack.supervisor.pid("rounds")
        stack.supervisor.wait_until(lambda: is_ready(settings, "rounds", rounds), "rounds", 60)
        assert not stack.are_rounds_ready()
        stack.supervisor.stop("carts")
        stack.supervisor.start(Program("carts", [sys.executable, "-c", code, "carts"], tmp_path / "carts"))
        stack.supervisor.wait_until(stack.are_rounds_ready, "carts", 60)


def test_told_to_stop_while_it_starts_a_run_ends_well(stop: Stop, settings: Settings, tmp_path: Path) -> None:
    said = list[str]()
    with running_stack(settings, said.append, stop) as stack:
        started = start(stack, tmp_path)
        signal.raise_signal(signal.SIGTERM)
        stack.supervisor.wait_until(lambda: False, "small", 600)
    assert said == ["stopped while small started"]
    assert not started.is_running()


@pytest.mark.parametrize("error", [ServiceError("away", "", ""), StoppedError("stopped")])
def test_whatever_happens_no_program_is_left(stop: Stop, settings: Settings, tmp_path: Path, error: Exception) -> None:
    started = []
    with suppress(ServiceError), running_stack(settings, print, stop) as stack:
        started.append(start(stack, tmp_path))
        raise error
    assert not started[0].is_running()


def test_up_says_that_java_lacks_security_releases_once_before_it_starts_any(
    stop: Stop, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(_stack: Stack) -> None:
        raise StoppedError("stopped while it starts")

    monkeypatch.setattr(Stack, "start_all", stopped)
    for released, expected in (("2020-01-14", 1), ("2999-01-14", 0)):
        java = runtime(tmp_path / released, "21.0.8", released=released)
        monkeypatch.setenv("JAVA_HOME", str(java))
        said = list[str]()
        up(settings, said.append)
        assert [line.startswith("Java 21.0.8 is of 2020-01-14") for line in said].count(True) == expected
