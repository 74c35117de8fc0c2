"""Which events are in silver already: recent ones from memory, older ones by a look-up in the table."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse import commits
from lakehouse.recent import Recent, events_since
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_EVENTS
from lakehouse.values import frame_of_columns

_MINUTE_US = 60_000_000

Event = tuple[str, int]
"""(event_id, event_at in microseconds). As the id is made from the time too, copies have the same event_at."""


class SeenEvents:
    """Knows the ids of silver.events: those of the newest events in memory, the others by reading their days."""

    def __init__(self, spark: SparkSession, settings: Settings, clock_us: int | None) -> None:
        """:param clock_us: the newest event_at in silver.events; None when it is empty."""
        self._spark, self._settings = spark, settings
        self._recent: Recent[None] = Recent(_MINUTE_US, settings.recent_rows)
        if clock_us is not None:
            since_us = self._recent.bucket(clock_us - settings.recent_s * 1_000_000)
            self._recent.begin_at(since_us)
            self.remember(_as_values(events_since(self._table(), since_us)))

    def remember(self, events: Iterable[Event]) -> None:
        """These events are in silver.events now."""
        for event_id, event_at_us in events:
            self._recent.add(event_at_us, event_id, None)

    def among(self, events: list[Event]) -> set[str]:
        """Which of these events are in silver.events? Out: their ids."""
        seen = {event_id for event_id, at_us in events if event_id in self._recent.at(at_us)}
        old = [(event_id, at_us) for event_id, at_us in events if not self._recent.covers(at_us)]
        return seen | self._look_up(old) if old else seen

    def _look_up(self, events: list[Event]) -> set[str]:
        """Reads the days of these events only, and of these days the files into whose range of event_at they fall."""
        ids = frame_of_columns(self._spark, {"event_id": (pa.string(), [event_id for event_id, _ in events])})
        times_us = [at_us for _, at_us in events]
        first, last = (F.timestamp_micros(F.lit(at_us)) for at_us in (min(times_us), max(times_us)))
        found = (
            self._table()
            .where(F.col("event_on").isin(sorted({_day(at_us) for at_us in times_us})))
            .where(F.col("event_at").between(first, last))
            .join(F.broadcast(ids), "event_id", how="left_semi")
        )
        return {event_id for event_id, _ in _as_values(found)}

    def _table(self) -> DataFrame:
        return commits.read_table(self._spark, SILVER_EVENTS, self._settings)


def _as_values(events: DataFrame) -> list[Event]:
    columns = events.select("event_id", F.unix_micros("event_at").alias("event_at_us")).toArrow()
    return list(zip(columns["event_id"].to_pylist(), columns["event_at_us"].to_pylist(), strict=True))


def _day(at_us: int) -> date:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).date()
