"""Busy and quiet hours: the store's own time, which passes faster when more people are about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

WEEK_S = 7 * 86_400.0
FIRST_MONDAY_S = 4 * 86_400.0  # 1970-01-05 00:00 UTC
# Relative; quietest at 01 h and busiest at 19 h UTC, Thursday busiest and Saturday quietest.
HOURS = (
    95, 68, 94, 140, 220, 330, 420, 475, 510, 530, 545, 555, 550, 540, 530, 530, 545, 580, 620, 641, 560, 380, 230, 140,
)  # fmt: skip
WEEKDAYS = (1.03, 1.04, 1.03, 1.08, 0.98, 0.87, 0.97)


@dataclass(frozen=True)
class Week:
    """A monotone map between clock time and store time, both in seconds since 1970, equal at each Monday 00:00 UTC.

    :param hours: store time at the 169 ends of the hours of a week, as shares of a week.
    """

    hours: Floats

    def store_time(self, clock_s: Floats | float) -> Floats:
        weeks, rest = np.divmod(np.asarray(clock_s, float) - FIRST_MONDAY_S, WEEK_S)
        return FIRST_MONDAY_S + WEEK_S * (weeks + np.interp(rest / 3600.0, np.arange(169.0), self.hours))

    def clock_time(self, store_s: Floats | float) -> Floats:
        weeks, rest = np.divmod(np.asarray(store_s, float) - FIRST_MONDAY_S, WEEK_S)
        return FIRST_MONDAY_S + WEEK_S * weeks + 3600.0 * np.interp(rest / WEEK_S, self.hours, np.arange(169.0))


def busy_week() -> Week:
    """The week of a real store, for histories."""
    rates = np.outer(WEEKDAYS, HOURS).ravel()
    return Week(np.concatenate([[0.0], np.cumsum(rates / rates.sum())]))


def even_week() -> Week:
    """All hours alike, for live streams at a stated rate."""
    return Week(np.linspace(0.0, 1.0, 169))
