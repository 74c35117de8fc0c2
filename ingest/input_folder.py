"""The input folder: which files may be read, in which order, and where each goes when it has been.

A file is claimed before it is read: moved, by one rename, to `.reading/` under a number of its own. What the source
remembers of a file hangs on that number, so two files of one name, or of one content, are two files; and whoever puts
a new file under an old name does not touch the one that is being read.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ingest.console import printable
from ingest.unpacked import SUFFIXES
from lakehouse.locks import hold
from lakehouse.settings import Settings
from lakehouse.visible import visible
from lakehouse.whole_file import whole_file

_DIGITS = 8

Say = Callable[[str], None]
Signature = tuple[int, int]
"""Size in bytes, and when it was changed last in nanoseconds: what is written to has another."""


@dataclass(frozen=True)
class Delivery:
    """A claimed file. :param number: rises from file to file. :param name: the name it came with."""

    number: int
    name: str
    path: Path

    def signature(self) -> Signature:
        found = self.path.stat()
        return found.st_size, found.st_mtime_ns


class InputFolder:
    """:param settle_s: a file that may still be written to is left alone until it has not changed for so long.
    :param say: gets one line for each thing that is passed over.
    """

    def __init__(self, folder: Path, settle_s: float, say: Say, now_s: Callable[[], float] = time.time) -> None:
        self.folder, self._settle_s, self._say, self._now_s = folder, settle_s, say, now_s
        self.reading, self.done, self.failed = folder / ".reading", folder / "done", folder / "failed"
        for place in (self.reading, self.done, self.failed):
            place.mkdir(parents=True, exist_ok=True)
        self._seen: dict[str, tuple[Signature, float]] = {}
        self._said: set[str] = set()

    def source_id(self, fresh: str) -> str:
        """The name of this folder's source, for as long as the folder lives; `fresh` when it has none yet."""
        note = self.folder / ".source"
        with suppress(FileNotFoundError):
            return note.read_text(encoding="utf-8").strip()
        with whole_file(note) as out:
            out.write(f"{fresh}\n".encode())
        return fresh

    def claim(self, above: int) -> None:
        """Takes the files that are there and ready, in the order of their names, under numbers above this one.

        One look at a folder may show a file and miss one that came before it. So what is not after the last of a first
        look is taken from a second: whatever was put there before a file of the first look is in it. A file that is
        not settled yet holds back those behind it, but not one that somebody keeps open for writing.
        """
        first = self._look()
        if not first:
            return
        both = first | self._look()
        number = max([above, *self._numbers()])
        for name in sorted(name for name in both if name <= max(first)):
            if not both[name]:
                return
            with self._telling(name):
                (self.folder / name).rename(self.reading / f"{number + 1:0{_DIGITS}}-{name}")
                number += 1
                self._seen.pop(name, None)

    def claimed(self) -> list[Delivery]:
        """In the order in which they are to be read."""
        return sorted(_deliveries(self.reading), key=lambda delivery: delivery.number)

    def is_ready(self, delivery: Delivery) -> bool:
        """Is nobody writing to it?"""
        return self._is_settled(delivery.path.name, delivery.path) and not _is_open_for_writing(delivery.path)

    def count(self) -> int:
        """Files that are there to be read, claimed or not; those that somebody has open for writing do not count."""
        return len(self._look()) + len(self.claimed())

    def finish(self, delivery: Delivery) -> None:
        self._seen.pop(delivery.path.name, None)
        delivery.path.rename(self.done / delivery.path.name)

    def fail(self, delivery: Delivery, reason: str) -> Path:
        """Sets a file aside with the reason in a file beside it. Out: where it is."""
        self._seen.pop(delivery.path.name, None)
        aside = self.failed / delivery.path.name
        with whole_file(aside.with_name(aside.name + ".reason.txt")) as out:
            out.write(visible(reason).encode())
        delivery.path.rename(aside)
        return aside

    def _look(self) -> dict[str, bool]:
        """Files that nobody has open for writing, and whether they are settled."""
        found = {}
        for entry in os.scandir(self.folder):
            name = entry.name
            if name.startswith(".") or name in ("done", "failed") or name.endswith((".part", ".tmp")):
                continue
            if not name.lower().endswith(SUFFIXES):
                self._say_once(name, f"passed over: not *{' or *'.join(SUFFIXES)}")
            elif "\n" in name:  # the archive's list of checksums has a line for each
                self._say_once(name, "passed over: a line feed in its name")
            elif not entry.is_file(follow_symlinks=False):
                self._say_once(name, "passed over: not a file")
            elif not _is_open_for_writing(Path(entry.path)):
                with self._telling(name):
                    found[name] = self._is_settled(name, Path(entry.path))
        return found

    def _is_settled(self, name: str, path: Path) -> bool:
        found, now_s = path.lstat(), self._now_s()
        signature = (found.st_size, found.st_mtime_ns)
        before, since_s = self._seen.get(name, (signature, now_s))
        if before != signature:
            since_s = now_s
        self._seen[name] = (signature, since_s)
        # A file's own time may be of another clock, and ahead of ours: then we wait for as long ourselves.
        return now_s - found.st_mtime >= self._settle_s or now_s - since_s >= self._settle_s

    def _numbers(self) -> Iterator[int]:
        for place in (self.reading, self.done, self.failed):
            for delivery in _deliveries(place):
                yield delivery.number

    @contextmanager
    def _telling(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            pass  # somebody took it back
        except OSError as error:
            self._say_once(name, f"cannot be taken: {error.strerror}; it is tried again")

    def _say_once(self, name: str, what: str) -> None:
        line = f"{printable(name)}: {what}"
        if line not in self._said:
            self._said.add(line)
            self._say(line)


@contextmanager
def reader_of(settings: Settings, say: Say) -> Iterator[InputFolder]:
    """The input folder, for the one process of this machine that reads it.

    :raises LockedError: another one does.
    """
    # Who opens a file in the very moment in which we ask whether somebody has it open, makes the system send this.
    if hasattr(signal, "SIGIO"):
        signal.signal(signal.SIGIO, signal.SIG_IGN)
    with hold(settings.input_path / ".lock", f"the source of {settings.input_path}"):
        yield InputFolder(settings.input_path, settings.file_settle_s, say)


def csv_files_in(folder: Path) -> list[Path]:
    """The CSV files of a folder in the order of their names, which for daily files is that of time."""
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted(path for path in files if path.name.lower().endswith(SUFFIXES))


def _deliveries(folder: Path) -> Iterator[Delivery]:
    for path in folder.iterdir():
        number, _, name = path.name.partition("-")
        if len(number) >= _DIGITS and number.isdecimal() and stat.S_ISREG(path.lstat().st_mode):
            yield Delivery(int(number), name, path)


def _is_open_for_writing(path: Path) -> bool:
    """Linux knows it of its own files: a read lease is refused while anybody may write. Elsewhere nobody knows."""
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        with path.open("rb") as file:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
