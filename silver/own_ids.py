"""On which days are the events that carry an id of their producer's?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

_MERGE_AT = 100_000

Key = int
Day = int
"""Days since 1970."""


class OwnIds:
    """An index of silver.events, in memory: 12 bytes an id.

    Where the event_id is a hash, the time is in it, and all copies are on one day. A producer's own id may come again
    with another time: it would have to be looked for in the whole table. This tells that an id is new, or else its day.
    """

    def __init__(self) -> None:
        self._keys: NDArray[np.int64] = np.empty(0, np.int64)
        self._days: NDArray[np.int32] = np.empty(0, np.int32)
        self._newest: dict[Key, list[Day]] = {}

    def __len__(self) -> int:
        return len(self._keys) + sum(map(len, self._newest.values()))

    def load(self, events: DataFrame) -> None:
        """In: rows of silver.events. Takes in those with an id of their producer's, instead of what it held."""
        keys = F.conv(F.substring(F.md5("event_id"), 1, 16), 16, -10).cast("bigint")
        columns = (
            events.where(F.col("content_id").isNotNull())
            .select(keys.alias("key"), F.unix_date("event_on").alias("day"))
            .toArrow()
        )
        self._newest = {}
        self._sort(columns["key"].to_numpy(), columns["day"].to_numpy())

    def add(self, ids: Iterable[tuple[str, Day]]) -> None:
        for own_id, day in ids:
            self._newest.setdefault(_key(own_id), []).append(day)
        if len(self._newest) > _MERGE_AT:
            keys = [key for key, days in self._newest.items() for _ in days]
            days = [day for days in self._newest.values() for day in days]
            self._newest = {}
            self._sort(np.append(self._keys, np.array(keys, np.int64)), np.append(self._days, np.array(days, np.int32)))

    def days_of(self, ids: list[str]) -> dict[str, set[Day]]:
        """Out: id -> the days on which it may be; an id that is on none is left out."""
        keys = np.array([_key(own_id) for own_id in ids], np.int64)
        firsts, ends = np.searchsorted(self._keys, keys, "left"), np.searchsorted(self._keys, keys, "right")
        found: dict[str, set[Day]] = {}
        for own_id, key, first, end in zip(ids, keys.tolist(), firsts.tolist(), ends.tolist(), strict=True):
            days = {*self._days[first:end].tolist(), *self._newest.get(key, ())}
            if days:
                found[own_id] = days
        return found

    def _sort(self, keys: NDArray[np.int64], days: NDArray[np.int32]) -> None:
        order = np.argsort(keys, kind="stable")
        self._keys, self._days = keys[order].astype(np.int64), days[order].astype(np.int32)


def _key(own_id: str) -> Key:
    return int.from_bytes(hashlib.md5(own_id.encode(), usedforsecurity=False).digest()[:8], "big", signed=True)
