"""The folder of logs: each program writes on and on, and the folder stays within its bound."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from lakehouse.settings import Settings

_LOOK_S = 1.0
_FILES = 16
"""A file has at most this part of the bound: more programs than these are in no run."""
_OF_A_PROCESS = re.compile(r"spark-(\d+)\.log")
_OF_THE_GONE = 10
"""So many of Spark's logs by process id are kept of processes that are gone."""


@contextmanager
def bounded_logs(settings: Settings) -> Iterator[None]:
    """While the block runs, the folder is looked at each second."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_S):
            bound(settings)

    bound(settings)
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        bound(settings)


def bound(settings: Settings) -> None:
    """What is too much goes: the beginnings of long files, then the oldest files that nobody writes any more.

    A file that is written stays the same file, whose writer need not know: what it has goes to `NAME.1`. What comes
    between the last look at it and its new beginning is lost.
    """
    most_bytes = settings.logs_mb * 1024 * 1024
    for path in _files(settings.logs):
        with suppress(FileNotFoundError):
            if path.stat().st_size > most_bytes // _FILES and not _is_over(path):
                _begin_anew(path, most_bytes // _FILES)
    files = sorted(_files(settings.logs), key=_changed_at, reverse=True)
    gone = [path for path in files if _OF_A_PROCESS.fullmatch(path.name) and _is_over(path)]
    for path in gone[_OF_THE_GONE:]:
        path.unlink(missing_ok=True)
    total_bytes = sum(map(_size, files))
    for path in reversed(files):
        if total_bytes <= most_bytes:
            break
        if _is_over(path):
            total_bytes -= _size(path)
            path.unlink(missing_ok=True)


def _files(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError):
        return [Path(entry.path) for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False)]
    return []


def _is_over(path: Path) -> bool:
    """Does nobody write it any more? A rolled file, or one of a process that is gone."""
    if path.suffix[1:].isdecimal():
        return True
    process = _OF_A_PROCESS.fullmatch(path.name)
    return process is not None and not psutil.pid_exists(int(process[1]))


def _begin_anew(path: Path, kept_bytes: int) -> None:
    """Its writers append, so that they go on at the beginning."""
    with path.open("rb") as file, path.with_name(f"{path.name}.1").open("wb") as kept:
        file.seek(max(0, path.stat().st_size - kept_bytes))
        shutil.copyfileobj(file, kept)
        os.truncate(path, 0)


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _changed_at(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0
