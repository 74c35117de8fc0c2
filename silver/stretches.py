"""Stretches of time in silver.events, as a condition that opens only the days and files that can have them."""

from __future__ import annotations

import functools
import operator
from collections import defaultdict

from pyspark.sql import Column
from pyspark.sql import functions as F

from silver.days_of_ids import Day, date_of

DAY_US = 86_400_000_000

Stretch = tuple[int, int]
"""First and last event_at, in microseconds, within one day."""


def widen(stretches: dict[Day, Stretch], first_us: int, last_us: int) -> None:
    """Takes in a time from first to last, on whichever days it lies."""
    for day in range(first_us // DAY_US, last_us // DAY_US + 1):
        begins_us, ends_us = max(first_us, day * DAY_US), min(last_us, (day + 1) * DAY_US - 1)
        known = stretches.get(day, (begins_us, ends_us))
        stretches[day] = (min(known[0], begins_us), max(known[1], ends_us))


def in_stretches(stretches: dict[Day, Stretch]) -> Column:
    """Days next to each other are one stretch: the condition stays short, however many days there are."""
    runs: dict[Day, list[Day]] = defaultdict(list)
    for day in sorted(stretches):
        first = next(reversed(runs), day)
        runs[first if runs and runs[first][-1] == day - 1 else day].append(day)
    return functools.reduce(operator.or_, (_in_run(days, stretches) for days in runs.values()))


def _in_run(days: list[Day], stretches: dict[Day, Stretch]) -> Column:
    first_on, last_on = (date_of(day) for day in (days[0], days[-1]))
    first_at, last_at = (_as_time(at_us) for at_us in (stretches[days[0]][0], stretches[days[-1]][1]))
    return F.col("event_on").between(first_on, last_on) & F.col("event_at").between(first_at, last_at)


def _as_time(at_us: int) -> Column:
    return F.timestamp_micros(F.lit(at_us))
