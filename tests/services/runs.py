"""A real lakehouse in a temporary home: broker, pipeline, jobs as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lakehouse.offsets import held_offsets
from lakehouse.pulse import read_pulse
from lakehouse.settings import Settings
from operate.audit import audit
from operate.lake import query
from operate.stack import Stack, only_run
from operate.supervisor import Say

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
ODD_HOME = 'Jürgen\'s "home": (1) {y} $HOME & Söhne; *~!@+=<家>'
"""A folder as people name theirs, and with what shells, URLs, JSON and connection strings have a meaning for."""


@contextmanager
def running(settings: Settings, say: Say = print, with_rounds: bool = True) -> Iterator[Stack]:
    """The stack of `lakehouse up`, stopped at the end of the block.

    :param with_rounds: False where a test is about the pipeline alone: a second Spark takes its time.
    """
    with only_run(settings, say):
        stack = Stack(settings, say)
        try:
            stack.start_all(with_rounds=with_rounds)
            yield stack
        finally:
            stack.supervisor.stop_all()


def wait_until_read(stack: Stack, timeout_s: float = 900.0) -> None:
    """Until the pipeline has written all that Kafka has; what dies meanwhile is started again."""
    end_s = time.monotonic() + timeout_s
    wanted = held_offsets(stack.settings).end
    while read_pulse(stack.settings).get("written") != wanted:
        stack.supervisor.watch()
        assert time.monotonic() < end_s, f"not read in {timeout_s:.0f} s: {read_pulse(stack.settings)}"
        time.sleep(0.2)


def submit(job: str, settings: Settings) -> None:
    """`spark-submit JOB --once`, as a user types it at the root of the project."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_")}
    environment |= settings.as_environment()
    command = [str(BIN / "spark-submit"), job, "--once"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr and "WARN" not in done.stderr, "Spark's noise is on the terminal"


def assert_promises(settings: Settings) -> None:
    broken = [finding for finding in audit(settings) if not finding.holds]
    assert broken == []


def ask(sql: str, settings: Settings) -> list[tuple]:
    return query(sql, settings).fetchall()
