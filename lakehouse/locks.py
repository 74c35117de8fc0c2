"""One writer per layer, across the processes of one machine."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from lakehouse.errors import LockedError
from lakehouse.session import is_local
from lakehouse.settings import Settings


@contextmanager
def hold(path: Path, what: str) -> Iterator[None]:
    """Holds an exclusive lock on a file until the block ends; the system frees it when the process dies.

    :raises LockedError: another process holds it; its process id is named. Or it is a link.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # No link is followed: the file is emptied, and whoever could write to its folder would choose which.
    try:
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise LockedError(f"{path} is a link.", "a file of our own", "see who made it, then remove it") from None
    with os.fdopen(opened, "r+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise LockedError(
                f"Process {holder} is {what} already.",
                "one at a time",
                "stop it (Ctrl-C, or `lakehouse down`), then try again",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def holder_of(path: Path) -> int | None:
    """The process that holds a lock; None: none does, whoever may have its number by now."""
    try:
        with path.open(encoding="utf-8") as file:
            holder = int(file.read())
            # A program that starts at this moment would be refused the lock: it is not tried for a number of nobody.
            if psutil.pid_exists(holder):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return holder
    except (FileNotFoundError, ValueError):
        pass
    return None


@contextmanager
def writer_of(layers: tuple[str, ...], settings: Settings) -> Iterator[None]:
    """This process is the only one on this machine that writes the tables of these layers.

    Small local commits are made by a log store that is safe within one process only; this lock is what makes it safe.
    A lake that is not a local folder takes no lock: there its operator sees to it (docs/decisions/0029-cluster.md).
    """
    if not layers or not is_local(settings.lake_url):
        yield
        return
    lock = Path(settings.lake_url.removeprefix("file://")) / "_locks" / f"{layers[0]}.lock"
    with hold(lock, f"the writer of {layers[0]} in {settings.lake_url}"), writer_of(layers[1:], settings):
        yield
