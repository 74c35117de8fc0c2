"""How each program of a run is, as its supervisor has last written: for those who ask."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from lakehouse.locks import holder_of
from lakehouse.settings import Settings
from lakehouse.whole_file import whole_file

STEADY_AFTER_S = 60.0
"""A program that was started again may die again within this time."""


@dataclass(frozen=True)
class ProgramState:
    """:param called: what a user reads of it.
    :param since_s: when the process began, or ended where there is none now; in seconds since 1970.
    :param restarts: how often it was started again.
    :param last_end: how the process before this one ended; empty where none did.
    :param gave_way: it was stopped while a command writes the lake, and starts again after it.
    """

    called: str
    log: str
    pid: int
    since_s: float
    is_running: bool
    restarts: int = 0
    last_end: str = ""
    gave_way: bool = False

    def said(self, now_s: float) -> str:
        """In a line, without its name."""
        for_s = max(0.0, now_s - self.since_s)
        what = "running" if self.is_running else "stopped while a command writes" if self.gave_way else "not running"
        line = f"{what} for {for_s:,.0f} s"
        if not self.last_end:
            return line
        times = "once" if self.restarts == 1 else f"{self.restarts} times"
        return f"{line}; started again {times}; the one before {self.last_end}; see {self.log}"

    def is_well(self, now_s: float) -> bool:
        """It runs, and did not die a moment ago."""
        if not self.is_running:
            return self.gave_way
        return not self.restarts or now_s - self.since_s >= STEADY_AFTER_S


def write_programs(settings: Settings, states: Iterable[ProgramState]) -> None:
    """Replaces what is written. A run without programs has none."""
    with whole_file(_file(settings)) as out:
        out.write(json.dumps([asdict(each) for each in states]).encode())


def read_programs(settings: Settings) -> list[ProgramState]:
    """In the order of their start; empty where nothing runs. Of a supervisor that was killed, none runs."""
    try:
        states = [ProgramState(**each) for each in json.loads(_file(settings).read_text(encoding="utf-8"))]
    except (FileNotFoundError, ValueError):
        return []
    return [
        each if not each.is_running or psutil.pid_exists(each.pid) else ProgramState(**asdict(each) | _gone())
        for each in states
    ]


def run_lock(settings: Settings) -> Path:
    """Held by the process that runs things in this home."""
    return settings.home / "run" / "up.lock"


def supervisor_of(settings: Settings) -> psutil.Process | None:
    """The process that runs `up` or `demo` in this home; None: none does."""
    holder = holder_of(run_lock(settings))
    with suppress(psutil.Error):
        return psutil.Process(holder) if holder is not None else None
    return None


def run_since_s(settings: Settings) -> float | None:
    """Since when something runs in this home, in seconds since 1970; None: nothing does but this process."""
    supervisor = supervisor_of(settings)
    return None if supervisor is None or supervisor.pid == os.getpid() else supervisor.create_time()


def _gone() -> dict[str, object]:
    return {"is_running": False, "since_s": time.time()}


def _file(settings: Settings) -> Path:
    return settings.home / "run" / "programs.json"
