"""What the running pipeline says of itself: one small file, replaced after each micro-batch."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from lakehouse.pulse import pulse_file
from lakehouse.settings import Settings

if TYPE_CHECKING:
    from gold.aggregate import Change
    from lakehouse.streams import Position
    from silver.judge import Judged


class Laps:
    """How long each part of a whole took, in seconds."""

    def __init__(self) -> None:
        self.lasted_s: dict[str, float] = {}
        self._since_s = time.monotonic()

    def end(self, name: str) -> None:
        now_s = time.monotonic()
        self.lasted_s[name] = round(now_s - self._since_s, 3)
        self._since_s = now_s


class Pulse:
    """Totals since this pipeline started, its place in Kafka, and how long its last batch took."""

    def __init__(self, settings: Settings) -> None:
        self._path = pulse_file(settings)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._pulse: dict[str, Any] = {
            "pid": os.getpid(),
            "running": False,
            "batches": 0,
            "records": 0,
            "records_written": 0,
            "events": 0,
            "duplicates": 0,
            "quarantined": 0,
            "purchases": 0,
            "sales_published": 0,
        }
        self._write()

    def ready(self, read: Position) -> None:
        """The pipeline has caught up and reads Kafka from these offsets on."""
        self._pulse |= {"running": True, "read": read, "written": read}
        self._write()

    def waiting(self, reason: str) -> None:
        """The batch in work waits for the schema registry; with the next beat it does no longer."""
        self._pulse["waiting_for"] = f"the schema registry: {reason}"
        self._write()

    def beat(
        self, judged: Judged, change: Change, end: Position, steps_s: dict[str, float], warnings: list[str]
    ) -> None:
        """A batch is judged, and its sales are published.

        :param end: the offsets after it.
        :param steps_s: how long each step of the batch took.
        :param warnings: what is out of its band in the newest records (silver.quality).
        """
        self._pulse["batches"] += 1
        for name in ("records", "events", "duplicates", "quarantined"):
            self._pulse[name] += judged.counts[name]
        self._pulse["purchases"] += len(judged.purchases)
        self._pulse["sales_published"] += len(change.rows)
        self._pulse |= {"read": end, "batch_s": round(sum(steps_s.values()), 3), "steps_s": steps_s}
        self._pulse["warnings"] = warnings
        self._pulse.pop("waiting_for", None)
        self._write()

    def written(self, end: Position, records: int, lasted_s: float) -> None:
        """The tables have all before these offsets. :param records: how many were written at once."""
        self._pulse["records_written"] += records
        self._pulse |= {"written": end, "write_s": round(lasted_s, 3)}
        self._write()

    def _write(self) -> None:
        self._pulse["written_at_s"] = time.time()
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self._pulse), encoding="utf-8")
        temporary.replace(self._path)
