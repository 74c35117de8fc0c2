"""`lakehouse down` ends the run of its home and no other process, whatever number that has."""

from __future__ import annotations

import subprocess
import sys

import pytest

from lakehouse.settings import Settings
from operate.cli import main
from operate.programs import run_lock, run_since_s, supervisor_of
from tests.programs import another_process_holding


def test_a_stranger_with_the_number_of_a_run_that_is_gone_lives_on(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with another_process_holding(run_lock(settings)) as run:
        found = supervisor_of(settings)
        assert found is not None and found.pid == run.pid
    command = [sys.executable, "-c", "input()", "/home/me/lakehouse/notes.txt"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as stranger:
        run_lock(settings).write_text(str(stranger.pid))
        assert supervisor_of(settings) is None and run_since_s(settings) is None
        assert main(["down", "--home", str(settings.home)]) == 0
        assert "nothing runs in" in capsys.readouterr().out.replace("\n", " ")
        assert stranger.poll() is None


def test_who_asks_for_the_holder_does_not_take_the_lock(settings: Settings) -> None:
    with another_process_holding(run_lock(settings)) as run:
        for _ in range(2):
            found = supervisor_of(settings)
            assert found is not None and found.pid == run.pid
        assert run.poll() is None
    assert supervisor_of(settings) is None
