"""The running stack with its feed, and ways to wait while both go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from lakehouse.errors import ServiceError
from lakehouse.offsets import held_offsets
from lakehouse.pulse import is_running, read_pulse
from lakehouse.settings import PREFIX, Settings
from operate.stack import Stack
from operate.supervisor import Say
from tests.chaos.feed import Feed


class TooLateError(AssertionError):
    """What must happen did not, in time."""


@dataclass(frozen=True)
class Stage:
    """Programs are started again by whoever calls `tend`; it must be the main thread (operate.services.process)."""

    stack: Stack
    feed: Feed
    say: Say

    @property
    def settings(self) -> Settings:
        return self.stack.settings

    def tend(self) -> None:
        self.stack.supervisor.watch()
        self.feed.send_due()
        time.sleep(0.02)

    def pause(self, seconds: float) -> None:
        """Lets everything go on for a while: a random moment, not a way to wait for something."""
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            self.tend()

    def wait_for(self, is_so: Callable[[], bool], what: str, timeout_s: float) -> None:
        """:raises TooLateError: it is not so in time."""
        end_s = time.monotonic() + timeout_s
        while not is_so():
            if time.monotonic() > end_s:
                raise TooLateError(f"{what}: not after {timeout_s:.0f} s; pulse {read_pulse(self.settings)}")
            self.tend()

    def process(self, name: str) -> psutil.Process | None:
        """The supervised program of this name; None while it is dead."""
        notes = json.loads((self.settings.home / "run" / "processes.json").read_text(encoding="utf-8"))
        with suppress(KeyError, psutil.NoSuchProcess):
            pid, born_s = notes[name]
            found = psutil.Process(pid)
            if found.create_time() == born_s and found.status() != psutil.STATUS_ZOMBIE:
                return found
        return None

    def is_running(self) -> bool:
        """Does the pipeline read Kafka?"""
        pulse, python = read_pulse(self.settings), self.process("pipeline")
        return python is not None and pulse.get("pid") == python.pid and is_running(pulse)

    def has_begun(self, name: str) -> bool:
        """Is a program of the slower tables at work? One asked to end while it starts ends at once, and that is all."""
        log = (self.settings.logs / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        return self.process(name) is not None and "INFO running" in log.rpartition("starting Spark")[2]

    def batches(self) -> int:
        """Of the pipeline that runs now."""
        return int(read_pulse(self.settings).get("batches", 0))

    def where(self) -> str:
        """What the pipeline is doing, in words."""
        pulse = read_pulse(self.settings)
        if not self.is_running():
            return "while it starts"
        since_s = time.time() - pulse["written_at_s"]
        return f"{since_s:.1f} s after batch {pulse['batches']}, {pulse['records']:,} records since its start"

    def wait_until_running(self, timeout_s: float = 180.0) -> None:
        self.wait_for(self.is_running, "the pipeline runs", timeout_s)

    def wait_until_restarted(self, name: str, dead: psutil.Process) -> None:
        self.wait_for(lambda: self.process(name) not in (None, dead), f"{name} is started again", 90.0)

    def drain(self, timeout_s: float = 400.0) -> None:
        """Until the running pipeline has read all that Kafka has of the whole input."""
        self.feed.allow(1.0)
        self.wait_for(self.feed.is_done, "all records are acknowledged", timeout_s)
        wanted = held_offsets(self.settings).end
        self.wait_for(
            lambda: self.is_running() and read_pulse(self.settings).get("written") == wanted, "all is read", timeout_s
        )

    def kafka_answers(self) -> bool:
        try:
            held_offsets(self.settings)
        except ServiceError:
            return False
        return True

    def command(self, log_file: Path, *words: str) -> subprocess.Popen[bytes]:
        """Starts a `lakehouse` command with the settings of this run, in a session of its own; it says into a log."""
        outside = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
        with log_file.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "operate.cli", *words],
                env=outside | self.settings.as_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def kill(victim: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        victim.send_signal(signal.SIGKILL)


def jvm_of(python: psutil.Process) -> psutil.Process | None:
    with suppress(psutil.NoSuchProcess):
        return next((child for child in python.children(recursive=True) if child.name() == "java"), None)
    return None
