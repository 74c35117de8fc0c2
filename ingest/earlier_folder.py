"""What the version before kept in the input folder itself, taken over into the home, once.

Others may write to the input folder, so nothing in it is believed to be ours that does not belong to our account, and
no link is followed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ingest.deliveries import Deliveries
from ingest.plain_file import open_plain
from lakehouse.errors import InputError

_ENTRY = re.compile(r"([0-9]{8,18})-(.+)", re.DOTALL)


def take_over(folder: Path, inbox: int, to: Deliveries, say: Callable[[str], None]) -> None:
    """Files that were being read or had been, with their numbers, and the name of the source. Killed on the way, the
    next call goes on.

    :param inbox: descriptor of the folder.
    """
    source = _source(inbox)
    if not source:
        return
    for name, is_done in ((".reading", False), ("done", True)):
        with _our_folder(inbox, name, lambda line: say(f"{folder}: {line}")) as place:
            for entry in _names(place):
                numbered = _ENTRY.fullmatch(entry)
                if numbered and place is not None:
                    with suppress(InputError):
                        to.adopt(int(numbered[1]), numbered[2], entry, place, inbox, is_done)
    to.source_id(fresh=source)
    for name in (".source", ".lock", ".drop.lock"):
        with suppress(OSError):
            os.unlink(name, dir_fd=inbox)
    for name in (".reading", "done", "failed"):
        with suppress(OSError):  # it is not empty
            os.rmdir(name, dir_fd=inbox)
    say(f"{folder}: what was in .reading and done is in {to.folder} now; what was refused before stays in failed")


def _source(inbox: int) -> str:
    """Of an earlier source of ours; empty: there was none."""
    try:
        with os.fdopen(open_plain(".source", inbox), "rb") as note:
            found = re.fullmatch(rb"([0-9a-f]{32})\n?", note.read(64))
            return found[1].decode() if found and os.fstat(note.fileno()).st_uid == os.geteuid() else ""
    except (OSError, InputError):
        return ""


def _names(folder: int | None) -> list[str]:
    if folder is None:
        return []
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


@contextmanager
def _our_folder(inbox: int, name: str, say: Callable[[str], None]) -> Iterator[int | None]:
    try:
        place = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=inbox)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        say(f"{name} is not taken over: {error.strerror}")
        yield None
        return
    try:
        is_ours = os.fstat(place).st_uid == os.geteuid()
        if not is_ours:
            say(f"{name} is not taken over: it belongs to another account")
        yield place if is_ours else None
    finally:
        os.close(place)
