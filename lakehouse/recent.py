"""A bounded memory of the newest rows of a table: what is in it is all there is, back to a horizon."""

from __future__ import annotations

from bisect import bisect_left
from contextlib import suppress
from typing import Generic, TypeVar

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse import commits
from lakehouse.errors import GoneError
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_EVENTS

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Values by id, in buckets of time. It gives up the oldest buckets when there are more than `limit` values.

    For times before `horizon_us` it has to be asked elsewhere; without a horizon it holds everything.

    :param width_us: length of a bucket in microseconds.
    """

    def __init__(self, width_us: int, limit: int) -> None:
        self._width_us, self._limit = width_us, limit
        self._buckets: dict[int, dict[str, Value]] = {}
        self._size = 0
        self.horizon_us: int | None = None

    def bucket(self, at_us: int) -> int:
        """The start of the bucket of a time, in microseconds since 1970."""
        return at_us // self._width_us * self._width_us

    def begin_at(self, at_us: int) -> None:
        """Nothing is held before the bucket of this time."""
        self.horizon_us = self.bucket(at_us)

    def covers(self, at_us: int) -> bool:
        return self.horizon_us is None or at_us >= self.horizon_us

    def at(self, at_us: int) -> dict[str, Value]:
        """What is held in the bucket of this time, by id. Not to be changed by the caller."""
        return self._buckets.get(self.bucket(at_us), {})

    def add(self, at_us: int, id_: str, value: Value) -> None:
        """Holds a value, or forgets it at once when it is older than the horizon."""
        if not self.covers(at_us):
            return
        bucket = self._buckets.setdefault(self.bucket(at_us), {})
        self._size += id_ not in bucket
        bucket[id_] = value
        if self._size > self._limit:
            self._give_up_oldest()

    def _give_up_oldest(self) -> None:
        # A tenth more than must go, so that the sort is paid for seldom.
        for start_us in sorted(self._buckets):
            if self._size <= self._limit * 0.9:
                break
            self._size -= len(self._buckets.pop(start_us))
            self.horizon_us = start_us + self._width_us


def events_since(spark: SparkSession, settings: Settings, version: int, since_us: int) -> DataFrame:
    """The rows of silver.events, as of a version, from a time on.

    They are in the files of the commits since the store clock came to that time. To find those in the log takes a
    fraction of what a first look at the table takes, and after a crash the sales are waiting.
    """
    versions = [each for each in commits.versions(spark, SILVER_EVENTS, settings) if each <= version]

    def clock_us(at: int) -> int:
        return commits.note_of(spark, SILVER_EVENTS, settings, at).get("clock_us") or 0

    first = bisect_left(versions, since_us, key=clock_us)
    is_since = F.unix_micros("event_at") >= since_us
    if first > 0 or versions[0] == 0:  # else the log does not go back so far
        after = versions[first] - 1 if first < len(versions) else version
        with suppress(GoneError):
            events, _ = commits.added_rows(spark, SILVER_EVENTS, settings, after, version)
            return events.where(is_since)
    since = F.timestamp_micros(F.lit(since_us))
    events = commits.read_table(spark, SILVER_EVENTS, settings, version)
    return events.where((F.col("event_on") >= F.to_date(since)) & is_since)
