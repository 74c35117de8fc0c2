"""Files that others may exchange at any moment: judged is what was opened, not what its name meant before."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from ingest.console import printable
from lakehouse.errors import InputError


def why_not_plain(found: os.stat_result) -> str:
    """Why this is nothing to read, or to remove once it was read; empty for a file with one name.

    A file with two names may be anybody's: whoever may write to the input folder can give a second name there to a file
    that only we may read.
    """
    if not stat.S_ISREG(found.st_mode):
        return "not a file"
    return "" if found.st_nlink == 1 else "the file has another name too (a hard link): drop a copy"


def open_plain(name: str | Path, folder: int | None = None) -> int:
    """Opens a file to read it: follows no link, waits for no pipe. Out: its descriptor.

    :param folder: descriptor of the folder that the name is in.
    :raises InputError: it is no plain file.
    :raises OSError: it cannot be opened.
    """
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            raise _not_plain(name, "not a file") from None
        raise
    why = why_not_plain(os.fstat(file))
    if why:
        os.close(file)
        raise _not_plain(name, why)
    return file


def _not_plain(name: str | Path, why: str) -> InputError:
    return InputError(f"{printable(os.fspath(name))}: {why}.", "a file with one name")
