"""Days of the store, in UTC, and which of them are complete."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from ml.drift.measures import Measured

Judged = tuple[date, Measured]
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Span:
    """Days that begin at a moment or later; what there is to know of one is known some time after its end."""

    since_at: datetime
    known_after: timedelta = timedelta()

    def days(self, clock_at: datetime, newest: int) -> list[date]:
        """The newest of those of which all is known, oldest first. :param clock_at: the store clock."""
        last = (clock_at - self.known_after).astimezone(UTC).date() - _DAY
        days = [last - number * _DAY for number in reversed(range(newest))]
        return [day for day in days if midnight(day) >= self.since_at]


def midnight(day: date) -> datetime:
    """When it begins."""
    return datetime.combine(day, time(), UTC)


def end_of(day: date) -> datetime:
    return midnight(day + _DAY)
