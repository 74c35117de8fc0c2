"""What has become of the files that were put into the input folder: waiting, being read, refused and why, archived."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ingest.archive import Archive
from ingest.console import printable
from ingest.deliveries import REASON, Delivery, deliveries
from ingest.input_folder import state_folder
from ingest.plain_file import why_not_plain
from ingest.unpacked import suffix_of
from lakehouse.command import AsJson
from lakehouse.settings import Settings
from lakehouse.visible import print_visible


@dataclass(frozen=True)
class Refused:
    """A file that could not be read. :param place: the folder with it and its reason."""

    number: int
    name: str
    refused_at: str
    size_bytes: int
    reason: str
    place: str


@dataclass(frozen=True)
class Status:
    """:param waiting: files in the input folder.
    :param taken: those that are being read, or will be at the next start.
    :param done: sent, and not in the archive yet.
    :param refused: the newest of `refused_files`.
    :param left_elsewhere: folder -> files that the source of another input folder has taken and not read to their end.
    """

    input_folder: str
    waiting: int
    taken: int
    done: int
    refused_files: int
    refused_bytes: int
    refused: list[Refused]
    archive: str
    archived_files: int
    archived_bytes: int
    left_elsewhere: dict[str, int]


def status(settings: Settings, limit: int) -> Status:
    """Looks only, also beside a source that runs. :param limit: of the refused files that are described."""
    state, archive = state_folder(settings), Archive(settings.archive_path)
    refused, archived = _in(state / "failed"), archive.files()
    others = [each for each in _folders(state.parent) if each != state]
    left = {str(each): len(_in(each / "reading")) for each in others}
    return Status(
        str(settings.input_path),
        _waiting(settings.input_path),
        len(_in(state / "reading")),
        len(_in(state / "done")),
        len(refused),
        sum(_size(each.path) for each in refused),
        [_described(each) for each in refused[: -limit - 1 : -1]],
        str(archive.folder),
        len(archived),
        sum(_size(file.path) for file in archived),
        {folder: count for folder, count in left.items() if count},
    )


def text(found: Status) -> str:
    """For people."""
    lines = [
        f"{found.input_folder}: {found.waiting:,} files wait, {found.taken:,} are taken to be read, {found.done:,} are "
        "done and not yet in the archive",
        f"{found.refused_files:,} files were refused, {found.refused_bytes:,} bytes",
    ]
    for each in found.refused:
        lines.append(f"  {each.refused_at}  {printable(each.name)}: {printable(each.reason)}")
        lines.append(f"    it is in {each.place}")
    lines.append(f"{found.archived_files:,} files are in {found.archive}, {found.archived_bytes:,} bytes")
    for folder, count in found.left_elsewhere.items():
        lines.append(f"{count:,} files of another input folder are not read to their end: {folder}")
    lines.append("rows that could not be read: lakehouse quarantine list --rule unreadable")
    return "\n".join(lines)


def _described(delivery: Delivery) -> Refused:
    at_s, note = delivery.folder.stat().st_ctime, delivery.folder / REASON  # it was moved there
    at = datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    why = " ".join(note.read_text(encoding="utf-8").split()) if note.exists() else ""
    return Refused(delivery.number, delivery.name, at, _size(delivery.path), why, str(delivery.folder))


def _waiting(folder: Path) -> int:
    if not folder.is_dir():
        return 0
    with os.scandir(folder) as entries:
        files = [each for each in entries if suffix_of(each.name) and not each.name.startswith(".")]
        return sum(1 for each in files if not why_not_plain(each.stat(follow_symlinks=False)))


def _in(place: Path) -> list[Delivery]:
    return deliveries(place) if place.is_dir() else []


def _folders(place: Path) -> list[Path]:
    return sorted(path for path in place.iterdir() if path.is_dir()) if place.is_dir() else []


def _size(path: Path) -> int:
    return path.lstat().st_size if os.path.lexists(path) else 0


def show_status(
    settings: Settings,
    limit: Annotated[int, typer.Option(help="refused files to describe, the newest first")] = 20,
    as_json: AsJson = False,
) -> int:
    found = status(settings, max(0, limit))
    print(json.dumps(asdict(found), indent=2)) if as_json else print_visible(text(found))
    return 0
