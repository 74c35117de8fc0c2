"""Files into Kafka by the whole road, for a demo: split into days, dropped without a wait, sent by the file source.

Stopped anywhere, the next call first goes on with what is left on the road, and splits nothing: a file is sent once.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ingest.archive import Archive
from ingest.console import Progress, stop_on_signals
from ingest.drop import drop_all, drop_lock
from ingest.file_source import FileSource, ShouldStop
from ingest.input_folder import csv_files_in, reader_of
from ingest.split import SplitBar, split
from lakehouse.errors import LakehouseError
from lakehouse.settings import Settings, load_settings


def feed(files: Sequence[Path], settings: Settings, progress: Progress, should_stop: ShouldStop) -> int:
    """Out: 0 when all is sent, 1 when a file could not be read.

    :raises LakehouseError: the files cannot be split, or Kafka is away.
    """
    days, began_s = settings.home / "days", time.monotonic()
    with reader_of(settings, progress.say) as folder:
        left = (len(csv_files_in(days)) if days.is_dir() else 0) + folder.count()
        if left:
            progress.say(f"going on with {left} files that are left of an earlier run")
        else:
            _split(files, days, progress, should_stop)
        if days.is_dir() and csv_files_in(days):
            drop_all(days, settings.input_path, 0.0, drop_lock(settings), should_stop)
        source = FileSource(
            folder,
            Archive(settings.archive_path),
            settings,
            on_progress=lambda sent: progress.show(f"{sent.rows:,} rows sent, {sent.name}"),
            should_stop=should_stop,
        )
        sent = source.run(once=True)
    progress.say(
        f"{sent.rows:,} rows of {sent.files} files sent in {time.monotonic() - began_s:.0f} s, {sent.unreadable:,} "
        f"unreadable, {sent.failed} files failed" + ("; stopped, the next call goes on here" if should_stop() else "")
    )
    return 1 if sent.failed else 0


def _split(files: Sequence[Path], days: Path, progress: Progress, should_stop: ShouldStop) -> None:
    """All days are there at once, so that a stopped split leaves none."""
    unfinished = days.with_name("days.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.rmtree(days, ignore_errors=True)
    bar = SplitBar(progress)
    made = split(files, unfinished, on_progress=bar, should_stop=should_stop)
    if not should_stop():
        unfinished.rename(days)
        progress.say(f"{bar.rows:,} rows of {len(files)} files split into {len(made)} days")


def main(arguments: Sequence[str]) -> int:
    progress, should_stop = Progress(), stop_on_signals()
    try:
        return feed([Path(name) for name in arguments], load_settings(), progress, should_stop)
    except LakehouseError as error:
        return progress.fail(error)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
