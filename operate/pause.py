"""A command that must write asks the run in its home to give way; the supervisor then stops what writes for a while."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from lakehouse.errors import LockedError
from lakehouse.locks import writer_of
from lakehouse.settings import Settings

_GIVE_WAY_S = 120.0


@contextmanager
def writers_paused(settings: Settings, layers: tuple[str, ...], why: str, say: Callable[[str], None]) -> Iterator[None]:
    """This process is the one writer of these layers; what `up` or `demo` runs has given way, and goes on afterwards.

    :raises LockedError: another writer, such as a job of a layer, does not end.
    """
    request = _folder(settings) / f"pause-{os.getpid()}.json"
    request.parent.mkdir(parents=True, exist_ok=True)
    request.write_text(json.dumps({"born": psutil.Process().create_time(), "why": why}), encoding="utf-8")
    try:
        with ExitStack() as until_done:
            began_s, said = time.monotonic(), False
            while True:
                try:
                    until_done.enter_context(writer_of(layers, settings))
                    break
                except LockedError:
                    if time.monotonic() - began_s > _GIVE_WAY_S:
                        raise
                    if not said:
                        say(f"waiting for the writer of {' and '.join(layers)} to give way")
                        said = True
                    time.sleep(0.1)
            yield
    finally:
        request.unlink(missing_ok=True)


def pause_wanted(settings: Settings) -> str | None:
    """What the writers of this home have to give way to; None: nothing. A request ends with its process."""
    for request in _folder(settings).glob("pause-*.json"):
        try:
            wish = json.loads(request.read_text(encoding="utf-8"))
            if psutil.Process(int(request.stem.split("-")[1])).create_time() == wish["born"]:
                return str(wish["why"])
        except (psutil.NoSuchProcess, FileNotFoundError, ValueError):
            continue
    return None


def _folder(settings: Settings) -> Path:
    return settings.home / "run"
