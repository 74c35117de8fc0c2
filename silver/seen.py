"""Which events are in silver already: recent ones from memory, older ones by a look-up in the table."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse import commits
from lakehouse.recent import Recent, events_since
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_EVENTS
from lakehouse.values import frame_of_columns
from silver.days_of_ids import Day, DaysOfIds
from silver.stretches import DAY_US, Stretch, in_stretches, widen

_MINUTE_US = 60_000_000


class Event(NamedTuple):
    """:param content: the hash of what it says; the event_id too, but where the producer sent an id of its own."""

    event_id: str
    content: str
    at_us: int

    @property
    def has_own_id(self) -> bool:
        return self.event_id != self.content

    @property
    def day(self) -> Day:
        return self.at_us // DAY_US


class SeenEvents:
    """Knows what silver.events has under an id: of the newest events from memory, of others by reading their days."""

    def __init__(self, spark: SparkSession, settings: Settings, clock_us: int | None, own_ids: int) -> None:
        """:param clock_us: the newest event_at in silver.events; None when it is empty.
        :param own_ids: how many of its events have an id of their producer's.
        """
        self._spark, self._settings = spark, settings
        self._recent: Recent[str] = Recent(_MINUTE_US, settings.recent_rows)
        # Where the event_id is a hash, the time is in it, and all copies are on one day. A producer's own id may come
        # again with another time: without an index it would have to be looked for in the whole table.
        self._own_ids = DaysOfIds()
        if clock_us is not None:
            since_us = self._recent.bucket(clock_us - settings.recent_s * 1_000_000)
            self._recent.begin_at(since_us)
            version = commits.current_version(spark, SILVER_EVENTS, settings)
            for event in _as_values(events_since(spark, settings, version, since_us)):
                self._recent.add(event.at_us, event.event_id, event.content)
        self._held: dict[str, str] = {}
        if own_ids:
            own = self._table().where(F.col("content_id").isNotNull())
            self._own_ids.load(own.select(F.col("event_id").alias("id"), F.col("event_on").alias("day")))

    @property
    def own_ids(self) -> int:
        """How many events have an id of their producer's."""
        return len(self._own_ids)

    def hold(self, events: list[Event]) -> None:
        """These events will be in silver.events: they count as seen."""
        self._held.update((event.event_id, event.content) for event in events)

    def remember(self, events: list[Event]) -> None:
        """These events are in silver.events now; none is held any more."""
        self._held = {}
        for event in events:
            self._recent.add(event.at_us, event.event_id, event.content)
        self._own_ids.add((event.event_id, event.day) for event in events if event.has_own_id)

    def contents(self, events: list[Event]) -> dict[str, str]:
        """What does silver.events have under these ids, or will have? Out: id -> content, for the ids that it has."""
        known: dict[str, str] = {}
        wanted: set[str] = set()
        stretches: dict[Day, Stretch] = {}
        for event in events:
            content = self._held.get(event.event_id) or self._recent.at(event.at_us).get(event.event_id)
            if content is not None:
                known[event.event_id] = content
            elif not self._recent.covers(event.at_us):
                wanted.add(event.event_id)
                widen(stretches, event.at_us, event.at_us)
        own = [event.event_id for event in events if event.has_own_id and event.event_id not in known]
        for own_id, days in self._own_ids.days_of(own).items():
            wanted.add(own_id)
            stretches |= {day: (day * DAY_US, (day + 1) * DAY_US - 1) for day in days}
        return known | self._look_up(wanted, stretches) if wanted else known

    def _look_up(self, ids: set[str], stretches: dict[Day, Stretch]) -> dict[str, str]:
        """Reads these days only, and of a day the files whose range of event_at reaches into its stretch."""
        wanted = frame_of_columns(self._spark, {"event_id": (pa.string(), list(ids))})
        found = self._table().where(in_stretches(stretches)).join(F.broadcast(wanted), "event_id", how="left_semi")
        return {event.event_id: event.content for event in _as_values(found)}

    def _table(self) -> DataFrame:
        return commits.read_table(self._spark, SILVER_EVENTS, self._settings)


def _as_values(events: DataFrame) -> list[Event]:
    content = F.coalesce("content_id", "event_id")
    columns = events.select("event_id", content.alias("content"), F.unix_micros("event_at").alias("at_us")).toArrow()
    return [Event(*row) for row in zip(*(column.to_pylist() for column in columns.columns), strict=True)]
