"""One line per step of a long job, with the seconds that it has taken. Standard library only."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

TERMINAL_S = 0.5
PLAIN_S = 15.0


class StepError(Exception):
    """A command of a step ended with an error; its output is at the end of the log."""


class Step:
    """Shows `title` and the seconds so far: in place on a terminal, else as a line now and then."""

    def __init__(self, title: str) -> None:
        self.title, self.started = title, time.monotonic()
        self.in_place = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._ended = threading.Event()
        self._clock = threading.Thread(target=self._tick, daemon=True)

    def __enter__(self) -> Step:
        self._clock.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._clock.join()
        stopped = kind is not None and issubclass(kind, KeyboardInterrupt)
        self._show("stopped" if stopped else "failed" if kind else "done", last=True)

    def _tick(self) -> None:
        while not self._ended.wait(TERMINAL_S if self.in_place else PLAIN_S):
            self._show("...")

    def _show(self, state: str, last: bool = False) -> None:
        line = f"  {self.title:<44} {state:<7} {time.monotonic() - self.started:4.0f} s"
        if self.in_place:
            print(f"\r{line}\033[K", end="\n" if last else "", flush=True)
        else:
            print(line, flush=True)


def run_logged(command: list[str], log: Path, folder: Path, keep_open: int, environment: dict[str, str]) -> None:
    """Run to the end in `folder`, output into `log`.

    :param keep_open: descriptor of the lock. The child holds it too, so that a command that outlives us, killed, keeps
        the next setup waiting instead of meeting it.
    :raises StepError: the command failed or cannot be started.
    """
    with log.open("ab") as output:
        output.write(f"\n$ {' '.join(command)}\n".encode())
        output.flush()
        try:
            code = subprocess.call(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(keep_open,),
            )
        except OSError as error:
            raise StepError(f"{command[0]} cannot be started: {error}") from error
    if code:
        raise StepError(f"{Path(command[0]).name} ended with code {code}")


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log, indented."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])
