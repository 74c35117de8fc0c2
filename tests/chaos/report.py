"""How a run of checks is told: lines with the time since its start, each check, and a last line that sums them up."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from operate.supervisor import Say
from tests.chaos.checks import Check, Verdict, summed_up


class Clock:
    """Prints a line with the time since the start in front."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()

    def __call__(self, line: str) -> None:
        seconds = int(time.monotonic() - self._start_s)
        print(f"{seconds // 60}:{seconds % 60:02d}  {line}", flush=True)


def reported(run: Generator[Check]) -> int:
    """Prints each check as soon as it is known. Out: the exit code, 1 when something failed."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    checks: list[Check] = []
    try:
        with closing(run) as going_on:
            for done in going_on:
                print(done, flush=True)
                checks.append(done)
    except KeyboardInterrupt:
        print("interrupted; all is stopped and removed", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
    print(summed_up(checks), flush=True)
    return 1 if any(done.verdict is Verdict.FAILED for done in checks) else 0


@contextmanager
def temporary_folder(prefix: str, keep: bool, say: Say) -> Iterator[Path]:
    """:param keep: it is left behind."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        yield folder
    finally:
        if keep:
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
