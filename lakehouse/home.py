"""The home folder, and all that programs of ours write: for the account that runs them alone."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from lakehouse.errors import InputError

_OURS_ALONE = 0o700


def keep_to_ourselves(home: Path) -> None:
    """From here on, what this process and those that it starts write is for their account alone. A home that is there
    is closed to others.

    :raises InputError: the home is another account's, or others could have put something into it.
    """
    os.umask(0o077)
    with suppress(FileNotFoundError):
        found = home.stat()
        if found.st_uid not in (us := os.geteuid(), 0):  # root is trusted: it may do all anyway
            raise InputError(
                f"The home {home} belongs to the account {found.st_uid}, and this is {us}.",
                "a home of this account's own",
                "run as that account, or choose another home with LAKEHOUSE_HOME",
            )
        if found.st_mode & stat.S_IWOTH or (found.st_uid and found.st_mode & stat.S_IWGRP and _is_shared(found.st_gid)):
            raise InputError(
                f"Others may write in the home {home} (mode {stat.S_IMODE(found.st_mode):04o}).",
                "a folder that this account alone may write",
                f"look at what is in it, then `chmod 700` it; or choose a home with LAKEHOUSE_HOME, as {home / 'home'}",
            )
        if found.st_uid == us and stat.S_IMODE(found.st_mode) != _OURS_ALONE:
            home.chmod(_OURS_ALONE)


def _is_shared(group: int) -> bool:
    """Where each account has a group of its own, folders are made with its rights."""
    return group != os.getegid()


@contextmanager
def temporary_folder(home: Path) -> Iterator[Path]:
    """In the home, for this process and those that it starts; one that it has been given stays. The system's folder may
    be small, swept, or one where native libraries cannot be run. What killed processes have left is removed.
    """
    place = home / "tmp"
    if Path(tempfile.gettempdir()).is_relative_to(place):
        yield Path(tempfile.gettempdir())
        return
    for left in place.glob("*"):
        if not (left.name.isdecimal() and psutil.pid_exists(int(left.name))):
            shutil.rmtree(left, ignore_errors=True)
    folder = place / str(os.getpid())
    folder.mkdir(mode=_OURS_ALONE, parents=True, exist_ok=True)
    before, os.environ["TMPDIR"], tempfile.tempdir = os.environ.get("TMPDIR"), str(folder), None
    try:
        yield folder
    finally:
        tempfile.tempdir = None
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            place.rmdir()
