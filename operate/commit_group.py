"""Published batches that wait for a commit together (docs/decisions/0044-commit-groups.md).

A commit costs the same for one row as for ten thousand. Nothing is at risk while a batch waits: Kafka keeps its
records, and the next start reads them again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from bronze.land import Landing
from gold.aggregate import Aggregation, Change
from lakehouse.rounds import alongside
from lakehouse.settings import Settings
from lakehouse.streams import Position, Stop
from operate.pulse import Pulse
from silver.judge import Judged, together
from silver.quality import QualityLog
from silver.refine import Refinement

_LOOK_S = 0.1
_QUIET_S = 2.0
"""When nothing has come for so long, there is nothing to wait for."""


class CommitGroup:
    """Holds batches until they are due: `commit_s` after the first of them came, when they have `commit_rows` records,
    when nothing more comes, and when the block of `written_in_time` ends.

    Its user holds `lock` from the judging of a batch until it is added: what waits must not be written meanwhile.
    """

    def __init__(
        self,
        landing: Landing,
        refinement: Refinement,
        aggregation: Aggregation,
        quality: QualityLog,
        pulse: Pulse,
        settings: Settings,
    ) -> None:
        self.lock = threading.Lock()
        self._landing, self._refinement, self._aggregation = landing, refinement, aggregation
        self._quality, self._pulse, self._settings = quality, pulse, settings
        self._batches: list[tuple[Judged, Change]] = []
        self._end: Position = {}
        self._first_s = self._last_s = 0.0

    def add(self, judged: Judged, change: Change, end: Position) -> None:
        """A batch that is published. The next ones are judged as if it was in the tables.

        :param end: the offsets after it.
        """
        self._last_s = time.monotonic()
        if not self._batches:
            self._first_s = self._last_s
        self._refinement.hold(judged)
        self._aggregation.hold(change)
        self._batches.append((judged, change))
        self._end = end

    def write_if_due(self) -> None:
        """Writes what waits, if it is time."""
        rows, now_s = sum(judged.counts["records"] for judged, _ in self._batches), time.monotonic()
        is_old = now_s - self._first_s >= self._settings.commit_s or now_s - self._last_s >= _QUIET_S
        if is_old or rows >= self._settings.commit_rows:
            self.write()

    def write(self) -> None:
        """Writes what waits. What could not be written is not tried again: a half of it may be in the tables."""
        batches, self._batches = self._batches, []
        if not batches:
            return
        began_s = time.monotonic()
        judged, changes = together([judged for judged, _ in batches]), [change for _, change in batches]
        bronze_version = self._landing.land(judged.records, self._end, judged.by_partition)
        silver_version = self._refinement.write(judged, bronze_version, datetime.now(UTC))
        self._quality.add(silver_version, self._refinement.note)
        self._aggregation.settle(changes, silver_version)
        judged.release()
        self._pulse.written(self._end, judged.counts["records"], time.monotonic() - began_s)

    @contextmanager
    def written_in_time(self, stop: Stop) -> Iterator[None]:
        """While the block runs what waits is written when it is due, though nothing more comes; and all at its end.

        An error of a write sets `stop`, and is raised when the block is left.
        """
        with alongside(self._write_when_due, stop):
            try:
                yield
            finally:
                with self.lock:
                    self.write()

    def _write_when_due(self, ended: Stop) -> None:
        while not ended.wait(_LOOK_S):
            with self.lock:
                self.write_if_due()
