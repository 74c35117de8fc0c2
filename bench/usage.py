"""What the programs of a run take: CPU seconds, and the most memory, each with all processes that it started."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from contextlib import suppress

import psutil

from lakehouse.settings import Settings


class Usage:
    """Looks at the programs that a supervisor has noted in the home folder, but for the one that sends the events."""

    def __init__(self, settings: Settings) -> None:
        self._notes = settings.home / "run" / "processes.json"
        self._samples: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)

    def cpu_s(self) -> dict[str, float]:
        """CPU seconds so far by program, those of its ended children included."""
        return {name: sum(map(_cpu_s, family)) for name, family in self._families().items()}

    def sample_memory(self) -> None:
        for name, family in self._families().items():
            self._samples[name].append((time.time(), sum(map(_resident_bytes, family))))

    def memory_mb(self, name: str) -> list[tuple[float, float]]:
        """The samples of one program: (seconds since 1970, MB)."""
        return [(at_s, resident / 2**20) for at_s, resident in self._samples[name]]

    def peak_memory_mb(self) -> dict[str, int]:
        """The most resident memory of each program in any sample. Pages that processes share count once for each."""
        return {name: max(resident for _, resident in seen) >> 20 for name, seen in self._samples.items()}

    def _families(self) -> dict[str, list[psutil.Process]]:
        families = {}
        for name, (pid, _) in json.loads(self._notes.read_text(encoding="utf-8")).items():
            if name == "feeder":
                continue
            with suppress(psutil.NoSuchProcess):
                leader = psutil.Process(pid)
                families[name] = [leader, *leader.children(recursive=True)]
        return families


def machine_cpu_s() -> float:
    """CPU seconds of all processes of the machine so far, with those that its host gave to other machines."""
    times = psutil.cpu_times()
    names = ("user", "nice", "system", "irq", "softirq", "steal")
    return sum(float(getattr(times, name, 0.0)) for name in names)


def own_cpu_s() -> float:
    """CPU seconds of this process so far."""
    times = psutil.Process().cpu_times()
    return float(times.user + times.system)


def spent(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """CPU seconds between two looks, by program. One that was started in between counts from its start."""
    return {name: round(max(0.0, now - before.get(name, 0.0)), 1) for name, now in after.items()}


def _cpu_s(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
        return float(times.user + times.system + ended)
    return 0.0


def _resident_bytes(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess):
        return int(process.memory_info().rss)
    return 0
