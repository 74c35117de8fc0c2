"""What all processes of a run take and show: their memory together, and their command lines."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from tests.chaos.checks import Check, check

_EVERY_S = 2.0


class Watch:
    """Of this process and all below it."""

    def __init__(self) -> None:
        self.peak_mb, self.peak_processes = 0, 0
        self._command_lines: set[str] = set()
        self._looked_s = 0.0

    def look(self) -> None:
        """To be called often; looks every few seconds."""
        if time.monotonic() - self._looked_s < _EVERY_S:
            return
        self._looked_s = time.monotonic()
        mb, count = 0.0, 0
        for each in (psutil.Process(), *psutil.Process().children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                mb += each.memory_info().rss / 2**20
                self._command_lines.add("\0".join(each.cmdline()))
                count += 1
        if mb > self.peak_mb:
            self.peak_mb, self.peak_processes = round(mb), count

    def secrets_check(self, secrets: Mapping[str, str], logs: Path) -> Check:
        """Is one of these in a command line that was seen, or in a log below the folder? Says which, and where."""
        # Pairs: many command lines begin with the same program.
        shown = [(f"a command line, {line.split(chr(0))[0]}", line) for line in self._command_lines]
        files = [path for path in logs.rglob("*") if path.is_file() and _is_log(path)]
        shown += [(str(path.relative_to(logs)), path.read_text(errors="replace")) for path in files]
        pairs = [(name, place) for place, text in shown for name, each in secrets.items() if each in text]
        found = [f"{name} in {place}" for name, place in pairs]
        return check(
            "secrets: in no command line and no log",
            not found and bool(files) and bool(self._command_lines),
            secrets=len(secrets),
            command_lines=len(self._command_lines),
            logs=len(files),
            **({"found": found} if found else {}),
        )


def _is_log(path: Path) -> bool:
    """Of services, jobs and Spark's executors (stdout, stderr), also those set aside when they were full. A broker
    calls its data so too.
    """
    if any(part.startswith("data") for part in path.parts):
        return False
    return ".log" in path.name or path.suffix == ".out" or path.name in ("stdout", "stderr")
