"""`lakehouse down`: stops what runs in a home folder, and removes the folder when asked to."""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import suppress
from typing import Annotated

import psutil
import typer
from rich.console import Console

from lakehouse.errors import InputError, ServiceError
from lakehouse.settings import Settings
from operate.programs import supervisor_of
from operate.stack import title_of
from operate.supervisor import end_leftovers, programs_in

_STOP_S, _SAY_EVERY_S = 120.0, 5.0
_OURS = [
    "archive",
    "days",
    "days.part",
    "ingest",
    "input",
    "kafka",
    "lake",
    "live",
    "logs",
    "mlflow",
    "postgres",
    "run",
    "thrift",
    "tmp",
]


def down(
    settings: Settings,
    console: Console,
    wipe: Annotated[
        bool, typer.Option("--wipe", help="and remove the home folder with all data, after asking")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
) -> int:
    """As Ctrl-C would.

    :raises ServiceError: it does not stop.
    """
    supervisor = supervisor_of(settings)
    if supervisor is not None:
        console.print(f"stopping process {supervisor.pid} ...", highlight=False)
        with suppress(psutil.NoSuchProcess):
            supervisor.terminate()
        began_s = time.monotonic()
        while psutil.wait_procs([supervisor], _SAY_EVERY_S)[1]:
            waited_s = time.monotonic() - began_s
            still = ", ".join(map(title_of, reversed(programs_in(settings)))) or "its end"
            if waited_s > _STOP_S:
                raise ServiceError(f"Process {supervisor.pid} did not stop in {_STOP_S:.0f} s: {still}.", "", "kill it")
            console.print(f"waiting for {still}; {waited_s:.0f} s so far", highlight=False)
    left = end_leftovers(settings)
    console.print("stopped" if supervisor or left else f"nothing runs in {settings.home}")
    return _wipe(settings, yes, console) if wipe else 0


def _wipe(settings: Settings, yes: bool, console: Console) -> int:
    """Removes what we keep in the home folder, and the folder itself when nothing else is in it."""
    here = sorted(path for path in settings.home.glob("*") if path.name in _OURS)
    if not here:
        console.print(f"nothing to remove in {settings.home}")
        return 0
    if not yes:
        if not sys.stdin.isatty():
            raise InputError("--wipe asks before it removes data, and there is no terminal.", "--yes", "add --yes")
        answer = console.input(f"Remove {', '.join(path.name for path in here)} in {settings.home}? Type yes: ")
        if answer.strip() != "yes":
            console.print("nothing removed")
            return 1
    for path in here:
        shutil.rmtree(path)
    with suppress(OSError):
        settings.home.rmdir()
    console.print(f"removed {settings.home}")
    return 0
