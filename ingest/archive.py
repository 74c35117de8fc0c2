"""Files that are done, compressed, with a list of checksums that `sha256sum -c` reads; and their way back."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from ingest.console import Progress, printable, stop_on_signals
from ingest.deliveries import Delivery
from ingest.drop import put
from ingest.unpacked import PACKED, suffix_of
from lakehouse.command import AsJson
from lakehouse.errors import InputError, LakehouseError
from lakehouse.settings import Settings
from lakehouse.visible import print_visible
from lakehouse.whole_file import whole_file

SUMS, NAMES = "SHA256SUMS", "NAMES"
_PIECE_BYTES = 1 << 20
_NUMBERED = re.compile("([0-9]{8,18})[.-]")
"""The version before called a file by its number, a hyphen and its name."""


class Archived(NamedTuple):
    """A file in the archive. :param name: the one it came with. :param sha256: that it must have."""

    path: Path
    name: str
    sha256: str


class Archive:
    """A folder per source, which nobody else may read. A file is called there by its number: a plain one is packed, and
    called `.gz`. What the files were called when they came is in `NAMES`, a line of JSON for each.

    Both lists grow by a line a file, and are read once: a file costs the same however many there are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers: dict[Path, set[int]] = {}

    def take(self, delivery: Delivery, source: str) -> None:
        """A copy of a file; killed anywhere, the next call does it again, alike. One that is here is left as it is.

        :raises OSError: it cannot be read or written.
        """
        place = self._place(source)
        if delivery.number in self._known(place):
            return
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.chmod(0o700)
        suffix = suffix_of(delivery.name)
        is_packed = suffix.endswith(PACKED)
        path = place / (f"{delivery.number:08}{suffix}" + ("" if is_packed else ".gz"))
        with delivery.open() as plain, whole_file(path, mode=0o600) as out:
            if is_packed:
                shutil.copyfileobj(plain, out, _PIECE_BYTES)
            else:  # without name and time: the same file gives the same bytes
                with gzip.GzipFile("", "wb", 6, out, mtime=0) as packed:
                    shutil.copyfileobj(plain, packed, _PIECE_BYTES)
        _append(place / NAMES, json.dumps({"file": path.name, "name": delivery.name}))
        _append(place / SUMS, f"{_sha256(path)}  {path.name}")  # from here on it is in the archive
        self._numbers[place].add(delivery.number)

    def remove_before(self, moment_s: float, source: str) -> None:
        """Removes the files of a source that were archived before a moment (seconds since 1970), but for the newest of
        them: its number says where to go on, and killed on the way the next call finds by it what is left to do.
        """
        place = self._place(source)
        files = {int(number[1]): file for file in _sums(place) if (number := _NUMBERED.match(file))}
        old = [number for number, file in files.items() if _changed_s(place / file, moment_s) < moment_s]
        gone = {file for number, file in files.items() if number < max(old, default=0)}
        for file in gone:
            (place / file).unlink(missing_ok=True)
        for name, file_of in ((NAMES, lambda line: json.loads(line)["file"]), (SUMS, lambda line: line[66:])):
            lines = _lines(place / name)
            kept = [line for line in lines if file_of(line) not in gone]
            if len(kept) < len(lines):
                with whole_file(place / name, mode=0o600) as out:
                    out.write("".join(f"{line}\n" for line in kept).encode(errors="surrogateescape"))

    def newest(self, source: str) -> int:
        """The highest number of a source's files; 0 when there are none."""
        return max(self._known(self._place(source)), default=0)

    def files(self) -> list[Archived]:
        """All, in the order in which they were read."""
        places = sorted(path for path in self.folder.iterdir() if path.is_dir()) if self.folder.is_dir() else []
        found = []
        for place in places:
            names = {each["file"]: each["name"] for each in map(json.loads, _lines(place / NAMES))}
            for file, sha256 in sorted(_sums(place).items()):
                found.append(Archived(place / file, names.get(file, file.partition("-")[2] or file), sha256))
        return found

    def _place(self, source: str) -> Path:
        return self.folder / source[:8]

    def _known(self, place: Path) -> set[int]:
        if place not in self._numbers:
            found = (_NUMBERED.match(file) for file in _sums(place))
            self._numbers[place] = {int(number[1]) for number in found if number}
        return self._numbers[place]


def replay(archive: Archive, names: Sequence[str], input_folder: Path, progress: Progress) -> int:
    """Puts archived files into the input folder again: those whose name has one of these texts in it, or all.

    Out: how many. :raises InputError: none has such a name, or one is not as it was when it was archived; nothing is
    replayed then.
    """
    chosen = [file for file in archive.files() if not names or any(text in file.name for text in names)]
    if not chosen:
        raise InputError(f"No such file in {archive.folder}: {' '.join(names)}", "a name, or a part of one")
    for file in chosen:
        progress.show(f"checking {printable(file.name)}")
        if not file.path.is_file() or _sha256(file.path) != file.sha256:
            raise InputError(
                f"{file.path} is not what was archived.", f"SHA-256 {file.sha256}", "bring it back from a backup"
            )
    input_folder.mkdir(parents=True, exist_ok=True)
    for file in chosen:
        with file.path.open("rb") as packed:
            put(packed, input_folder, _packed_name(file))
        progress.show(printable(file.name))
    return len(chosen)


def _packed_name(file: Archived) -> str:
    """What it is called as it lies in the archive."""
    return file.name if file.name.lower().endswith(PACKED) else f"{file.name}.gz"


def _sums(place: Path) -> dict[str, str]:
    """File -> SHA-256."""
    return {file: digest for digest, _, file in (line.partition("  ") for line in _lines(place / SUMS))}


def _lines(path: Path) -> list[str]:
    """The whole lines of a list. Not by lines as Python means them: a name may hold what else ends a line."""
    if not path.is_file():
        return []
    return path.read_bytes().decode(errors="surrogateescape").split("\n")[:-1]


def _append(path: Path, line: str) -> None:
    """A line, on the disk before this returns. What a crash has left of another one goes."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end and (file.seek(end - 1), file.read(1))[1] != b"\n":
            end -= 1
        file.truncate(end)
        file.seek(end)
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _changed_s(path: Path, missing_s: float) -> float:
    return path.lstat().st_mtime if os.path.lexists(path) else missing_s


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def replay_files(
    settings: Settings,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="parts of file names, such as 2019-10; default: all")
    ] = None,
    only_list: Annotated[bool, typer.Option("--list", help="only say which files there are")] = False,
    as_json: AsJson = False,
) -> int:
    """After a check of each."""
    progress = Progress()
    stop_on_signals()
    try:
        archive = Archive(settings.archive_path)
        if only_list:
            files = archive.files()
            if as_json:
                print(json.dumps([file._asdict() for file in files], default=str))
            for file in () if as_json else files:
                print_visible(f"{file.sha256} {printable(str(file.path))} {printable(file.name)}")
            return 0
        count = replay(archive, names or [], settings.input_path, progress)
    except LakehouseError as error:
        return progress.fail(error)
    progress.say(f"{count:,} files are in {settings.input_path} again")
    if as_json:
        print(json.dumps({"files": count, "folder": str(settings.input_path)}))
    return 0
