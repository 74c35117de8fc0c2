"""Which programs of a run have come to do what they are for: each says so itself, and `up` then says that all runs."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from lakehouse.settings import Settings


def say_ready(settings: Settings, name: str) -> None:
    """This process is the program of this name, and does its work from now on."""
    path = _mark(settings, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(str(os.getpid()), encoding="ascii")


def is_ready(settings: Settings, name: str, pid: int) -> bool:
    """Has the process with this id said so?"""
    with suppress(FileNotFoundError):
        return _mark(settings, name).read_text(encoding="ascii") == str(pid)
    return False


def _mark(settings: Settings, name: str) -> Path:
    return settings.home / "run" / f"{name}.ready"
