"""Files that are done, compressed, with a list of checksums that `sha256sum -c` reads; and their way back."""

from __future__ import annotations

import argparse
import gzip
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from ingest.console import Progress, printable, stop_on_signals
from ingest.drop import free_name
from ingest.unpacked import PACKED
from lakehouse.errors import InputError, LakehouseError
from lakehouse.settings import load_settings
from lakehouse.visible import print_visible
from lakehouse.whole_file import whole_file

SUMS = "SHA256SUMS"
_PIECE_BYTES = 1 << 20


class Archive:
    """A folder per source. A file's name there is its number and the name under which it was read; a plain file is
    packed, and called `.gz`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take_one(self, done: Path, source: str) -> bool:
        """Moves the first file of a folder into the archive; killed anywhere, the next call does it again, alike.

        Out: was there one? :raises OSError: it cannot be written.
        """
        waiting = sorted(path for path in done.iterdir() if not path.name.startswith("."))
        if not waiting:
            return False
        path, place = waiting[0], self.folder / source[:8]
        place.mkdir(parents=True, exist_ok=True)
        is_packed = path.name.lower().endswith(PACKED)
        name = path.name if is_packed else f"{path.name}.gz"
        with path.open("rb") as plain, whole_file(place / name) as out:
            if is_packed:
                shutil.copyfileobj(plain, out, _PIECE_BYTES)
            else:  # without name and time: the same file gives the same bytes
                with gzip.GzipFile("", "wb", 6, out, mtime=0) as packed:
                    shutil.copyfileobj(plain, packed, _PIECE_BYTES)
        sums = self.sums(place) | {name: _sha256(place / name)}
        lines = "".join(f"{digest}  {of}\n" for of, digest in sorted(sums.items()))
        with whole_file(place / SUMS) as out:
            out.write(lines.encode(errors="surrogateescape"))
        path.unlink()
        return True

    def sums(self, place: Path) -> dict[str, str]:
        """Name -> SHA-256 of each file of a source."""
        if not (place / SUMS).is_file():
            return {}
        # Not by lines as Python means them: a name may hold what else ends a line.
        lines = (place / SUMS).read_bytes().decode(errors="surrogateescape").removesuffix("\n").split("\n")
        return {name: digest for digest, _, name in (line.partition("  ") for line in lines)}

    def newest(self, source: str) -> int:
        """The highest number of a source's files; 0 when there are none."""
        numbers = (name.partition("-")[0] for name in self.sums(self.folder / source[:8]))
        return max((int(number) for number in numbers), default=0)

    def files(self) -> list[tuple[Path, str]]:
        """All files with the checksums they must have, in the order in which they were read."""
        places = sorted(path for path in self.folder.iterdir() if path.is_dir()) if self.folder.is_dir() else []
        return [(place / name, digest) for place in places for name, digest in sorted(self.sums(place).items())]


def replay(archive: Archive, names: Sequence[str], input_folder: Path, progress: Progress) -> int:
    """Puts archived files into the input folder again: those whose name has one of these texts in it, or all.

    Out: how many. :raises InputError: none has such a name, or one is not as it was when it was archived; nothing is
    replayed then.
    """
    chosen = [(path, digest) for path, digest in archive.files() if not names or any(n in path.name for n in names)]
    if not chosen:
        raise InputError(f"No such file in {archive.folder}: {' '.join(names)}", "a name, or a part of one")
    for path, digest in chosen:
        progress.show(f"checking {path.name}")
        if not path.is_file() or _sha256(path) != digest:
            raise InputError(f"{path} is not what was archived.", f"SHA-256 {digest}", "bring it back from a backup")
    input_folder.mkdir(parents=True, exist_ok=True)
    for path, _ in chosen:
        name = free_name(input_folder, path.name.partition("-")[2])
        with path.open("rb") as packed, whole_file(input_folder / name) as out:
            shutil.copyfileobj(packed, out, _PIECE_BYTES)
        progress.show(name)
    return len(chosen)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of `ingest replay`."""
    parser = argparse.ArgumentParser(
        prog="lakehouse ingest replay", description="Archived files into the input folder again, after a check."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="parts of file names, such as 2019-10; default: all")
    parser.add_argument("--list", action="store_true", help="only say which files there are")
    given = parser.parse_args(arguments)
    progress = Progress()
    stop_on_signals()
    try:
        settings = load_settings()
        archive = Archive(settings.archive_path)
        if given.list:
            for path, digest in archive.files():
                print_visible(f"{digest} {printable(str(path))}")
            return 0
        count = replay(archive, given.names, settings.input_path, progress)
    except LakehouseError as error:
        return progress.fail(error)
    progress.say(f"{count:,} files are in {settings.input_path} again")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
