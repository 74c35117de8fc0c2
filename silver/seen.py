"""Which events are in silver already: recent ones from memory, older ones by a look-up in the table."""

from __future__ import annotations

import functools
import operator
from collections import defaultdict
from datetime import date, timedelta
from typing import NamedTuple

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse import commits
from lakehouse.recent import Recent, events_since
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_EVENTS
from lakehouse.values import frame_of_columns
from silver.own_ids import Day, OwnIds

_MINUTE_US, _DAY_US = 60_000_000, 86_400_000_000
_EPOCH_ON = date(1970, 1, 1)


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
        return self.at_us // _DAY_US


Stretch = tuple[int, int]
"""First and last event_at, in microseconds, within one day."""


class SeenEvents:
    """Knows what silver.events has under an id: of the newest events from memory, of others by reading their days."""

    def __init__(self, spark: SparkSession, settings: Settings, clock_us: int | None, own_ids: int) -> None:
        """:param clock_us: the newest event_at in silver.events; None when it is empty.
        :param own_ids: how many of its events have an id of their producer's.
        """
        self._spark, self._settings = spark, settings
        self._recent: Recent[str] = Recent(_MINUTE_US, settings.recent_rows)
        self._own_ids = OwnIds()
        if clock_us is not None:
            since_us = self._recent.bucket(clock_us - settings.recent_s * 1_000_000)
            self._recent.begin_at(since_us)
            version = commits.current_version(spark, SILVER_EVENTS, settings)
            for event in _as_values(events_since(spark, settings, version, since_us)):
                self._recent.add(event.at_us, event.event_id, event.content)
        if own_ids:
            self._own_ids.load(self._table())

    @property
    def own_ids(self) -> int:
        """How many events have an id of their producer's."""
        return len(self._own_ids)

    def remember(self, events: list[Event]) -> None:
        """These events are in silver.events now."""
        for event in events:
            self._recent.add(event.at_us, event.event_id, event.content)
        self._own_ids.add((event.event_id, event.day) for event in events if event.has_own_id)

    def contents(self, events: list[Event]) -> dict[str, str]:
        """What does silver.events have under these ids? Out: id -> content, for the ids that it has."""
        known: dict[str, str] = {}
        wanted: set[str] = set()
        stretches: dict[Day, Stretch] = {}
        for event in events:
            content = self._recent.at(event.at_us).get(event.event_id)
            if content is not None:
                known[event.event_id] = content
            elif not self._recent.covers(event.at_us):
                wanted.add(event.event_id)
                first_us, last_us = stretches.get(event.day, (event.at_us, event.at_us))
                stretches[event.day] = (min(first_us, event.at_us), max(last_us, event.at_us))
        own = [event.event_id for event in events if event.has_own_id and event.event_id not in known]
        for own_id, days in self._own_ids.days_of(own).items():
            wanted.add(own_id)
            stretches |= {day: (day * _DAY_US, (day + 1) * _DAY_US - 1) for day in days}
        return known | self._look_up(wanted, stretches) if wanted else known

    def _look_up(self, ids: set[str], stretches: dict[Day, Stretch]) -> dict[str, str]:
        """Reads these days only, and of a day the files whose range of event_at reaches into its stretch."""
        wanted = frame_of_columns(self._spark, {"event_id": (pa.string(), list(ids))})
        found = self._table().where(_in_stretches(stretches)).join(F.broadcast(wanted), "event_id", how="left_semi")
        return {event.event_id: event.content for event in _as_values(found)}

    def _table(self) -> DataFrame:
        return commits.read_table(self._spark, SILVER_EVENTS, self._settings)


def _in_stretches(stretches: dict[Day, Stretch]) -> Column:
    """Days next to each other are one stretch: the condition stays short, however many days there are."""
    runs: dict[Day, list[Day]] = defaultdict(list)
    for day in sorted(stretches):
        first = next(reversed(runs), day)
        runs[first if runs and runs[first][-1] == day - 1 else day].append(day)
    return functools.reduce(operator.or_, (_in_run(days, stretches) for days in runs.values()))


def _in_run(days: list[Day], stretches: dict[Day, Stretch]) -> Column:
    first_on, last_on = (_EPOCH_ON + timedelta(days=day) for day in (days[0], days[-1]))
    first_at, last_at = (_as_time(at_us) for at_us in (stretches[days[0]][0], stretches[days[-1]][1]))
    return F.col("event_on").between(first_on, last_on) & F.col("event_at").between(first_at, last_at)


def _as_time(at_us: int) -> Column:
    return F.timestamp_micros(F.lit(at_us))


def _as_values(events: DataFrame) -> list[Event]:
    content = F.coalesce("content_id", "event_id")
    columns = events.select("event_id", content.alias("content"), F.unix_micros("event_at").alias("at_us")).toArrow()
    return [Event(*row) for row in zip(*(column.to_pylist() for column in columns.columns), strict=True)]
