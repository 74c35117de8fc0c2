"""One line per step of a long job: seconds, and what it has written to the disk. Standard library only."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from lakehouse.visible import visible

TERMINAL_S = 1.0
PLAIN_S = 15.0
_TICK_S = 0.01
"""Times of files are those of the kernel's last tick."""


class StepError(Exception):
    """A command of a step ended with an error; its output is at the end of `log`."""

    def __init__(self, message: str, log: Path) -> None:
        super().__init__(message)
        self.log = log


class Step:
    """Shows `title` and the seconds so far: in place on a terminal, else as a line now and then.

    :param folders: what grows there is shown too.
    """

    def __init__(self, title: str, folders: Sequence[Path] = ()) -> None:
        self.title, self.folders, self.written = title, folders, 0
        self.started, self.started_at = time.monotonic(), time.time() - _TICK_S
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
        self.written = max(self.written, sum(grown(folder, self.started_at) for folder in self.folders))
        on_disk = f"{self.written >> 20} MB on disk" if self.written >> 20 else ""
        line = f"  {self.title:<44} {state:<7} {on_disk:>15} {time.monotonic() - self.started:4.0f} s"
        if self.in_place:
            print(f"\r{line}\033[K", end="\n" if last else "", flush=True)
        else:
            print(line, flush=True)


def grown(folder: Path, since: float) -> int:
    """Bytes in files below a folder that changed since then. A folder that did not change is not looked into."""
    size = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if found.st_ctime < since:
                    continue
                size += grown(Path(entry.path), since) if entry.is_dir(follow_symlinks=False) else found.st_size
    except OSError:
        return size  # gone meanwhile
    return size


@contextmanager
def started(
    command: list[str], log: Path, folder: Path, keep_open: int, environment: dict[str, str]
) -> Iterator[Callable[[], None]]:
    """Start a command in `folder`, output into `log`. What it gives waits for the end; the command ends with the block.

    :param keep_open: descriptor of the lock. The child holds it too, so that a command that outlives us, killed, keeps
        the next setup waiting instead of meeting it.
    :raises StepError: the command failed or cannot be started.
    """
    with log.open("ab") as output:
        output.write(f"\n$ {' '.join(command)}\n".encode())
        output.flush()
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(keep_open,),
            )
        except OSError as error:
            raise StepError(f"{command[0]} cannot be started: {error}", log) from error

    def wait() -> None:
        code = process.wait()
        if code:
            raise StepError(f"{Path(command[0]).name} ended with code {code}", log)

    try:
        yield wait
    finally:
        process.kill()
        process.wait()


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log, indented."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return "\n".join(f"    {visible(line)}" for line in text.splitlines()[-lines:])
