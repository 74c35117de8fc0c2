"""What `lakehouse status` says of the programs of a run."""

from __future__ import annotations

import os
import re
import time
from dataclasses import replace

import psutil
import pytest

from lakehouse.settings import Settings
from operate.cli import main
from operate.programs import ProgramState, read_programs, write_programs

NOW_S = 1_800_000_000.0
RUNNING = ProgramState("abandoned carts", "/home/logs/carts.log", os.getpid(), NOW_S - 30.0, True)
AGAIN = replace(RUNNING, restarts=2, last_end="died (exit code 1) after 7 s")
DEAD = replace(AGAIN, is_running=False, since_s=NOW_S - 3.0)
PAUSED = replace(RUNNING, is_running=False, gave_way=True)


@pytest.mark.parametrize(
    ("state", "said", "is_well"),
    [
        (RUNNING, "running for 30 s", True),
        (
            AGAIN,
            "running for 30 s; started again 2 times; the one before died (exit code 1) after 7 s; "
            "see /home/logs/carts.log",
            False,
        ),
        (replace(AGAIN, since_s=NOW_S - 61.0, restarts=1), "running for 61 s; started again once; ", True),
        (DEAD, "not running for 3 s; started again 2 times; ", False),
        (PAUSED, "stopped while a command writes for 30 s", True),
    ],
)
def test_a_program_is_said_in_a_line(state: ProgramState, said: str, is_well: bool) -> None:
    assert state.said(NOW_S).startswith(said)
    assert state.is_well(NOW_S) is is_well


def test_what_is_written_is_read_and_of_a_killed_supervisor_nothing_runs(settings: Settings) -> None:
    assert read_programs(settings) == []
    settings.home.joinpath("run").mkdir(parents=True)
    write_programs(settings, [RUNNING, DEAD])
    assert read_programs(settings) == [RUNNING, DEAD]
    gone = next(pid for pid in range(2**22 - 1, 1, -1) if not psutil.pid_exists(pid))
    write_programs(settings, [replace(RUNNING, pid=gone)])
    (found,) = read_programs(settings)
    assert not found.is_running and found.since_s > NOW_S - 10**9
    write_programs(settings, [])
    assert read_programs(settings) == []


def test_status_says_who_is_not_well_and_check_ends_with_1(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.home.joinpath("run").mkdir(parents=True)
    write_programs(settings, [replace(DEAD, since_s=time.time() - 5.0)])
    assert main(["status", "--home", str(settings.home)]) == 0
    said = r"abandoned carts  not running for \d+ s; started again 2 times; the one before died"
    assert re.search(said, capsys.readouterr().out)
    assert main(["status", "--home", str(settings.home), "--check"]) == 1
    assert main(["status", "--home", str(settings.home), "--check", "--json"]) == 1


def test_status_answers_where_kafka_does_not(
    settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_KAFKA_BOOTSTRAP", "127.0.0.1:1")
    began_s = time.monotonic()
    assert main(["status", "--home", str(settings.home)]) == 0
    assert time.monotonic() - began_s < 15.0
    assert "Unable to bootstrap from 127.0.0.1:1" in " ".join(capsys.readouterr().out.split())
