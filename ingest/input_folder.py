"""The input folder: which files may be read, and in which order they are taken.

Others write to it, so it holds nothing of ours: a file is taken before it is read, by a move into the home
(ingest/deliveries.py). Whoever puts a new file under an old name does not touch the one that is being read, and nothing
that is put there, exchanged or removed makes us open or write anything else (docs/decisions/0037-input-of-others.md).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ingest.console import printable
from ingest.deliveries import Deliveries
from ingest.earlier_folder import take_over
from ingest.plain_file import open_plain, why_not_plain
from ingest.unpacked import SUFFIXES, suffix_of
from lakehouse.errors import InputError
from lakehouse.locks import hold
from lakehouse.settings import Settings

Say = Callable[[str], None]
Signature = tuple[int, int]
"""Size in bytes, and when it was changed last in nanoseconds: what is written to has another."""


def signature(opened: int) -> Signature:
    """Of an open file (a descriptor)."""
    found = os.fstat(opened)
    return found.st_size, found.st_mtime_ns


class InputFolder:
    """:param deliveries: where files go that are taken.
    :param settle_s: a file that may still be written to is left alone until it has not changed for so long.
    :param say: gets one line for each thing that is passed over.
    :raises InputError: see `Deliveries`.
    """

    def __init__(
        self, folder: Path, deliveries: Deliveries, settle_s: float, say: Say, now_s: Callable[[], float] = time.time
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.deliveries = folder.resolve(), deliveries
        self._settle_s, self._say, self._now_s = settle_s, say, now_s
        self._seen: dict[str | int, tuple[Signature, float]] = {}
        self._said: set[tuple[str, str]] = set()
        self._untakeable: set[str] = set()
        if deliveries.is_new:
            with self._opened() as inbox:
                take_over(folder, inbox, deliveries, say)

    def claim(self, above: int) -> None:
        """Takes the files that are there and ready, in the order of their names, under numbers above this one.

        One look at a folder may show a file and miss one that came before it. So what is not after the last of a first
        look is taken from a second: whatever was put there before a file of the first look is in it. A file that is
        not settled yet holds back those behind it, but not one that somebody keeps open for writing.
        """
        with self._opened() as inbox:
            self.deliveries.go_on(inbox)
            first = self._look(inbox)
            if not first:
                return
            both, untakeable = first | self._look(inbox), set(first)
            for name in sorted(name for name in both if name <= max(first)):
                if not both[name]:
                    untakeable -= {later for later in first if later >= name}
                    break
                with self._telling(name):
                    self.deliveries.take(name, inbox, above)
                    untakeable.discard(name)
            self._untakeable = untakeable
            self.deliveries.go_on(inbox)

    def is_ready(self, number: int, opened: int) -> bool:
        """Is nobody writing to the file of this number (a descriptor)?"""
        is_ready = self._is_settled(number, opened) and not _is_open_for_writing(opened)
        if is_ready:
            del self._seen[number]
        return is_ready

    def count(self) -> int:
        """Files that are there to be read, claimed or not; those that somebody has open for writing do not count, nor
        those that could not be taken."""
        with self._opened() as inbox:
            return len(self._look(inbox).keys() - self._untakeable) + len(self.deliveries.claimed())

    @contextmanager
    def _opened(self) -> Iterator[int]:
        inbox = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            yield inbox
        finally:
            os.close(inbox)

    def _look(self, inbox: int) -> dict[str, bool]:
        """Files that nobody has open for writing, and whether they are settled."""
        found, names = {}, set()
        with os.scandir(inbox) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(".") or name.endswith((".part", ".tmp")):
                    continue
                names.add(name)
                with self._telling(name):
                    is_settled = self._is_file_settled(entry, inbox)
                    if is_settled is not None:
                        found[name] = is_settled
        # What is gone is forgotten: whoever fills and empties the folder does not fill our memory.
        self._seen = {key: seen for key, seen in self._seen.items() if not isinstance(key, str) or key in names}
        self._said = {(name, line) for name, line in self._said if name in names}
        return found

    def _is_file_settled(self, entry: os.DirEntry[str], inbox: int) -> bool | None:
        """None: it is nothing to take now.

        :raises InputError: it is no plain file. :raises OSError: it cannot be looked at.
        """
        if not suffix_of(entry.name):
            if not entry.is_dir(follow_symlinks=False):
                self._say_once(entry.name, f"passed over: not *{' or *'.join(SUFFIXES)}")
            return None
        why = why_not_plain(entry.stat(follow_symlinks=False))
        if why:
            raise InputError(why)
        try:
            opened = open_plain(entry.name, inbox)
        except PermissionError:
            return True  # it is taken, and refused with this reason
        try:
            is_settled = self._is_settled(entry.name, opened)
            return None if _is_open_for_writing(opened) else is_settled
        finally:
            os.close(opened)

    def _is_settled(self, key: str | int, opened: int) -> bool:
        now, now_s = signature(opened), self._now_s()
        before, since_s = self._seen.get(key, (now, now_s))
        if before != now:
            since_s = now_s
        self._seen[key] = (now, since_s)
        # A file's own time may be of another clock, and ahead of ours: then we wait for as long ourselves.
        return now_s - now[1] / 1e9 >= self._settle_s or now_s - since_s >= self._settle_s

    @contextmanager
    def _telling(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            pass  # somebody took it back
        except InputError as error:
            self._say_once(name, f"passed over: {error.found}")
        except OSError as error:
            self._say_once(name, f"cannot be taken: {error.strerror}; it is tried again")

    def _say_once(self, name: str, what: str) -> None:
        if (name, what) not in self._said:
            self._said.add((name, what))
            self._say(f"{printable(name)}: {what}")


@contextmanager
def reader_of(settings: Settings, say: Say) -> Iterator[InputFolder]:
    """The input folder, for the one process of this home that reads it.

    :raises LockedError: another one does.
    """
    # Who opens a file in the very moment in which we ask whether somebody has it open, makes the system send this.
    if hasattr(signal, "SIGIO"):
        signal.signal(signal.SIGIO, signal.SIG_IGN)
    with hold(state_folder(settings) / "lock", f"the source of {settings.input_path}"):
        yield input_folder(settings, say)


def input_folder(settings: Settings, say: Say) -> InputFolder:
    """For whoever is its one reader already."""
    return InputFolder(settings.input_path, Deliveries(state_folder(settings)), settings.file_settle_s, say)


def state_folder(settings: Settings) -> Path:
    """Where the source of the input folder keeps its files. The real path of the folder names it; of one in the home,
    the path from there, so that the home may be moved.
    """
    folder, home = settings.input_path.resolve(), settings.home.resolve()
    path = str(folder.relative_to(home) if folder.is_relative_to(home) else folder)
    name = re.sub(r"[^A-Za-z0-9_-]", "_", path)[-40:]
    if name != path:
        name += f"-{hashlib.sha256(os.fsencode(path)).hexdigest()[:12]}"
    return settings.home / "ingest" / name


def csv_files_in(folder: Path) -> list[Path]:
    """The CSV files of a folder in the order of their names, which for daily files is that of time."""
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in files if suffix_of(path.name))


def _is_open_for_writing(opened: int) -> bool:
    """Linux knows it of its own files: a read lease is refused while anybody may write. Elsewhere nobody knows."""
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        fcntl.fcntl(opened, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(opened, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
