"""On which days are the rows of a table that have an id?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

_MERGE_AT = 100_000

Key = int
Day = int
"""Days since 1970."""


class DaysOfIds:
    """An index of a table, in memory: 12 bytes a row. It tells that an id is new, or else on which days it may be."""

    def __init__(self) -> None:
        self._keys: NDArray[np.int64] = np.empty(0, np.int64)
        self._days: NDArray[np.int32] = np.empty(0, np.int32)
        self._newest: dict[Key, list[Day]] = {}

    def __len__(self) -> int:
        return len(self._keys) + sum(map(len, self._newest.values()))

    def load(self, rows: DataFrame) -> None:
        """In: `id` (text, none null) and `day` (a date) of each row. They take the place of what it held."""
        keys = F.conv(F.substring(F.md5("id"), 1, 16), 16, -10).cast("bigint")
        columns = rows.select(keys.alias("key"), F.unix_date("day").alias("day")).toArrow()
        self._newest = {}
        self._sort(columns["key"].to_numpy(), columns["day"].to_numpy())

    def add(self, ids: Iterable[tuple[str, Day]]) -> None:
        for id_, day in ids:
            self._newest.setdefault(_key(id_), []).append(day)
        if len(self._newest) > _MERGE_AT:
            keys = [key for key, days in self._newest.items() for _ in days]
            days = [day for days in self._newest.values() for day in days]
            self._newest = {}
            self._sort(np.append(self._keys, np.array(keys, np.int64)), np.append(self._days, np.array(days, np.int32)))

    def days_of(self, ids: list[str]) -> dict[str, set[Day]]:
        """Out: id -> the days on which it may be; an id that is on none is left out."""
        keys = np.array([_key(id_) for id_ in ids], np.int64)
        firsts, ends = np.searchsorted(self._keys, keys, "left"), np.searchsorted(self._keys, keys, "right")
        found: dict[str, set[Day]] = {}
        for id_, key, first, end in zip(ids, keys.tolist(), firsts.tolist(), ends.tolist(), strict=True):
            days = {*self._days[first:end].tolist(), *self._newest.get(key, ())}
            if days:
                found[id_] = days
        return found

    def _sort(self, keys: NDArray[np.int64], days: NDArray[np.int32]) -> None:
        order = np.argsort(keys, kind="stable")
        self._keys, self._days = keys[order].astype(np.int64), days[order].astype(np.int32)


def date_of(day: Day) -> date:
    return date(1970, 1, 1) + timedelta(days=day)


def _key(id_: str) -> Key:
    return int.from_bytes(hashlib.md5(id_.encode(), usedforsecurity=False).digest()[:8], "big", signed=True)
