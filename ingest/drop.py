"""A file after another into the input folder, one a minute as the store's own system would, or faster."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from ingest.console import Progress, printable, stop_on_signals, wait
from ingest.input_folder import csv_files_in, state_folder
from ingest.unpacked import SUFFIXES, suffix_of
from lakehouse.command import Flag
from lakehouse.errors import InputError, LakehouseError
from lakehouse.locks import hold
from lakehouse.settings import Settings

_MOST_NAME_BYTES = 255


def drop(path: Path, input_folder: Path) -> Path:
    """Moves a file into the input folder in one step: nobody sees half of it, and no file there is replaced.

    From another file system it is copied beside its place first. Killed between its last two steps it is in both
    folders, and the next call drops it again: its rows are then told apart as copies. Out: where it is.
    """
    target = input_folder / free_name(input_folder, path.name)
    try:
        path.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with path.open("rb") as source:
            target = put(source, input_folder, path.name)
        path.unlink()
    return target


def put(source: BinaryIO, input_folder: Path, name: str) -> Path:
    """A copy of an open file in the input folder, which nobody sees half of, with its rights. Out: where it is.

    Others may write there: the name that it has meanwhile is new, and cannot be known before.
    """
    part = input_folder / f".{uuid.uuid4().hex}.part"
    try:
        with part.open("xb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
            copy.flush()
            os.fchmod(copy.fileno(), stat.S_IMODE(os.fstat(source.fileno()).st_mode))
            os.fsync(copy.fileno())
        return part.rename(input_folder / free_name(input_folder, name))
    finally:
        part.unlink(missing_ok=True)


def free_name(folder: Path, name: str) -> str:
    """A name that no file in the folder has: `2019-10-01.csv`, else `2019-10-01~2.csv` and so on; cut if too long."""
    suffix = suffix_of(name)
    stem, number = name[: len(name) - len(suffix)], 1
    while True:
        end = (f"~{number}" if number > 1 else "") + name[len(stem) :]
        free = os.fsdecode(os.fsencode(stem)[: _MOST_NAME_BYTES - len(end)]) + end
        if not os.path.lexists(folder / free):
            return free
        number += 1


def drop_all(
    folder: Path,
    input_folder: Path,
    interval_s: float,
    lock: Path,
    should_stop: Callable[[], bool] = lambda: False,
    on_drop: Callable[[Path, int], None] = lambda path, left: None,
) -> int:
    """Drops every file of a folder, one each interval. Out: how many.

    :param lock: file that says who drops files there.
    :param on_drop: called after each with where it is now, and how many are left.
    :raises InputError: no such folder, or no file in it.
    :raises LockedError: somebody else drops files there.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder.", "a folder of CSV files, such as `lakehouse ingest split` makes")
    files = csv_files_in(folder)
    if not files:
        raise InputError(f"{folder} has no CSV files.", f"files named *{' or *'.join(SUFFIXES)}")
    input_folder.mkdir(parents=True, exist_ok=True)
    with hold(lock, f"dropping files into {input_folder}"):
        for number, path in enumerate(files):
            if number:
                wait(interval_s, should_stop)
            if should_stop():
                return number
            try:
                target = drop(path, input_folder)
            except OSError as error:
                raise InputError(
                    f"{printable(path.name)} cannot be moved to {input_folder}: {error.strerror}.",
                    "room and the right to write there",
                    "run it again: it goes on with this file",
                ) from None
            on_drop(target, len(files) - number - 1)
    return len(files)


def drop_lock(settings: Settings) -> Path:
    """Of whoever drops files into the input folder: two would choose the same name."""
    return state_folder(settings) / "drop.lock"


def drop_files(
    settings: Annotated[
        Settings,
        Flag("input_folder", "--into", "the input folder, instead of LAKEHOUSE_INPUT_FOLDER"),
        Flag("drop_interval_s", "--interval-s", "seconds from file to file, instead of the setting's (60)", float),
    ],
    folder: Annotated[Path, typer.Argument(help="where the files are; they are moved away from there")],
    speed: Annotated[float, typer.Option(help="so many times faster; 0: without any wait")] = 1.0,
) -> int:
    """As the store's own system would, or faster. Exit code 0 when all is dropped or somebody stopped it."""
    progress, should_stop = Progress(), stop_on_signals()
    try:
        if speed < 0:
            raise InputError(f"--speed {speed:g}.", "a number from 0 up", "correct the command")
        count = drop_all(
            folder,
            settings.input_path,
            settings.drop_interval_s / speed if speed else 0.0,
            drop_lock(settings),
            should_stop,
            lambda path, left: progress.say(f"{printable(path.name)} dropped, {left} left"),
        )
    except LakehouseError as error:
        return progress.fail(error)
    progress.say(f"{count} files dropped into {settings.input_path}")
    return 0
