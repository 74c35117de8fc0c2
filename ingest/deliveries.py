"""Files that were taken from an input folder, kept in the home, where nobody else may write.

Each has a folder of its own, named by a number that rises from file to file: `reading/00000012/` with the file and a
note of the name it came with. What becomes of it is one rename of that folder, to `done/` or to `failed/`. What the
source remembers of a file hangs on the number, so two files of one name, or of one content, are two files.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ingest.console import printable
from ingest.plain_file import open_plain
from ingest.unpacked import suffix_of
from lakehouse.errors import InputError
from lakehouse.visible import visible
from lakehouse.whole_file import whole_file

REASON = "reason.txt"
_NOTE, _SOURCE = "note.json", "source.json"
_PIECE_BYTES = 1 << 20
_NUMBER = re.compile(r"[0-9]{8,18}")


@dataclass(frozen=True)
class Delivery:
    """A file that was taken. :param name: the one it came with. :param folder: its own, here."""

    number: int
    name: str
    folder: Path

    @property
    def path(self) -> Path:
        return self.folder / f"file{suffix_of(self.name)}"

    def open(self) -> BinaryIO:
        """:raises InputError: it is no plain file, or may not be read.
        :raises FileNotFoundError: it is gone.
        """
        try:
            return os.fdopen(open_plain(self.path), "rb", buffering=_PIECE_BYTES)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise InputError(f"{printable(self.name)}: {error.strerror}.", "a file that can be read") from None


class Deliveries:
    """:raises InputError: the folder is a link, or has one where a folder of ours should be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reading, self.done, self.failed = places = folder / "reading", folder / "done", folder / "failed"
        for place in (folder, *places):
            if place.is_symlink():
                raise InputError(f"{place} is a link.", "a folder of our own", "remove it, and start again")
            place.mkdir(parents=True, exist_ok=True)
            with suppress(PermissionError):  # some file systems have no rights to change
                place.chmod(0o700)
        self._newest = max((number for place in places for number, _ in _numbered(place)), default=0)
        self._is_unfinished = True

    def source_id(self, fresh: str) -> str:
        """The name of the source in Kafka, for as long as this folder lives; `fresh` when it has none yet."""
        if not self.is_new:
            return str(json.loads((self.folder / _SOURCE).read_bytes())["id"])
        with whole_file(self.folder / _SOURCE) as out:
            out.write(json.dumps({"id": fresh}).encode())
        return fresh

    @property
    def is_new(self) -> bool:
        """Was no source here yet?"""
        return not (self.folder / _SOURCE).exists()

    def take(self, name: str, inbox: int, above: int) -> None:
        """Moves a file of the input folder (a descriptor) here, to be read, under a number above this and all others.

        By one rename. A file of another file system gets a hidden name in the input folder, which nobody knows before,
        and is here when `go_on` has copied it.

        :raises InputError: it is no plain file. :raises OSError: it cannot be moved. Either way it is where it was.
        """
        number = max(above, self._newest) + 1
        self._move(Delivery(number, name, self.reading / f"{number:08}"), name, inbox, inbox)
        self._newest = number

    def adopt(self, number: int, name: str, entry: str, folder: int, inbox: int, is_done: bool) -> None:
        """The same of a file that has its number already: the entry of a folder in the input folder, both descriptors.

        :raises InputError, OSError: as above.
        """
        self._newest = max(number, self._newest)
        place = self.done if is_done else self.reading
        self._move(Delivery(number, name, place / f"{number:08}"), entry, folder, inbox)

    def go_on(self, inbox: int) -> None:
        """Ends what was begun: copies what has its hidden name only, and forgets numbers that never got a file.

        :raises OSError: it cannot be copied now.
        """
        if not self._is_unfinished:
            return
        for place in (self.reading, self.done):
            for delivery in deliveries(place):
                hidden, is_here = _note(delivery.folder).get("hidden"), os.path.lexists(delivery.path)
                if hidden and _is_in(inbox, hidden):
                    self._fetch(delivery, hidden, inbox)
                elif not is_here and hidden and not _is_in(inbox, delivery.name):
                    self.fail(delivery, f"It is not where it was to be copied from, as {hidden} in the input folder.")
                elif not is_here:
                    _drop(delivery)
        self._is_unfinished = False

    def claimed(self) -> list[Delivery]:
        """In the order in which they are to be read; none behind one that is not here yet."""
        found = []
        for delivery in deliveries(self.reading):
            if not os.path.lexists(delivery.path):
                break
            found.append(delivery)
        return found

    def finished(self) -> list[Delivery]:
        """What waits for the archive."""
        return [delivery for delivery in deliveries(self.done) if os.path.lexists(delivery.path)]

    def finish(self, delivery: Delivery) -> None:
        delivery.folder.rename(self.done / delivery.folder.name)

    def fail(self, delivery: Delivery, reason: str) -> Path:
        """Sets a file aside with the reason beside it. Out: the folder of both."""
        with whole_file(delivery.folder / REASON) as out:
            out.write(visible(reason).encode())
        return delivery.folder.rename(self.failed / delivery.folder.name)

    def remove_before(self, moment_s: float) -> None:
        """Removes what was refused before a moment, in seconds since 1970."""
        for _, folder in _numbered(self.failed):
            if folder.lstat().st_ctime < moment_s:  # it was moved there then
                shutil.rmtree(folder)

    def forget(self, delivery: Delivery) -> None:
        """Of one that is in the archive: the file goes first."""
        delivery.path.unlink(missing_ok=True)
        shutil.rmtree(delivery.folder)

    def _move(self, delivery: Delivery, entry: str, folder: int, inbox: int) -> None:
        delivery.folder.mkdir(mode=0o700, exist_ok=True)
        try:
            _write_note(delivery)
            try:
                os.rename(entry, delivery.path, src_dir_fd=folder)
                return
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
            os.close(open_plain(entry, folder))
            hidden = f".{uuid.uuid4().hex}.taken"
            _write_note(delivery, hidden)
            os.rename(entry, hidden, src_dir_fd=folder, dst_dir_fd=inbox)
            self._is_unfinished = True
        except (OSError, InputError):
            _drop(delivery)
            raise

    def _fetch(self, delivery: Delivery, hidden: str, inbox: int) -> None:
        """The original goes when the copy is on the disk; one that is here was whole before a kill. It has the time of
        the original, on which the position in a file hangs.
        """
        if not delivery.path.exists():
            try:
                opened = open_plain(hidden, inbox)
            except (OSError, InputError) as error:  # it is not what it was when it was looked at
                self.fail(delivery, f"It is in the input folder, as {hidden}, and cannot be copied: {error}")
                return
            with os.fdopen(opened, "rb") as original, whole_file(delivery.path) as copy:
                shutil.copyfileobj(original, copy, _PIECE_BYTES)
                changed_ns = os.fstat(opened).st_mtime_ns
                copy.flush()
                os.utime(copy.fileno(), ns=(changed_ns, changed_ns))
            _sync(delivery.folder)
        with suppress(OSError):  # if it has become something else, that may stay
            os.unlink(hidden, dir_fd=inbox)


def deliveries(place: Path) -> list[Delivery]:
    """In the order of their numbers. What has no number is not ours."""
    return [
        Delivery(number, str(_note(folder).get("name", folder.name)), folder) for number, folder in _numbered(place)
    ]


def _numbered(place: Path) -> list[tuple[int, Path]]:
    with os.scandir(place) as entries:
        found = [
            (int(entry.name), Path(entry.path))
            for entry in entries
            if _NUMBER.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
        ]
    return sorted(found)


def _note(folder: Path) -> dict[str, str]:
    """Nothing of a note that a crash of the machine has taken: the file goes by its number then."""
    with suppress(FileNotFoundError, ValueError):
        return dict(json.loads((folder / _NOTE).read_bytes()))
    return {}


def _write_note(delivery: Delivery, hidden: str = "") -> None:
    note = {"name": delivery.name} | ({"hidden": hidden} if hidden else {})
    (delivery.folder / _NOTE).write_text(json.dumps(note), encoding="ascii")
    if hidden:  # nobody else knows it
        _sync(delivery.folder / _NOTE)
        _sync(delivery.folder)


def _sync(path: Path) -> None:
    """To the disk, so that what comes after cannot be there without it."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _is_in(folder: int, name: str) -> bool:
    with suppress(FileNotFoundError):
        os.stat(name, dir_fd=folder, follow_symlinks=False)
        return True
    return False


def _drop(delivery: Delivery) -> None:
    """Only what we made, should there be more."""
    (delivery.folder / _NOTE).unlink(missing_ok=True)
    with suppress(OSError):
        delivery.folder.rmdir()
