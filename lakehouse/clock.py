"""The store clock: what is now, for carts and all that ages (docs/decisions/0006-store-clock.md)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lakehouse.commits import Note

LIVE_WITHIN_US = 600_000_000
"""Events come as they happen if Kafka had the newest one within ten minutes of its time."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def store_now(silver_note: Note, now: datetime) -> datetime | None:
    """Wall time where events come as they happen; else the newest event. None while there is no event.

    :param silver_note: the newest of silver.events.
    :param now: wall time.
    """
    clock_us = silver_note.get("clock_us")
    if clock_us is None:
        return None
    is_live = silver_note.get("clock_lag_us", LIVE_WITHIN_US) < LIVE_WITHIN_US
    return now if is_live else at_us(clock_us)


def store_read(silver_note: Note) -> datetime | None:
    """The store clock as of what silver.events has: the time of its newest record where events come as they happen;
    else the newest event. What waits in Kafka is later. None while there is no event.

    :param silver_note: the newest of silver.events.
    """
    known_us = max(silver_note.get("clock_us") or 0, silver_note.get("kafka_at_us") or 0)
    return store_now(silver_note, at_us(known_us))


def at_us(us: int) -> datetime:
    """Microseconds since 1970 as a time."""
    return _EPOCH + timedelta(microseconds=us)


def us_of(at: datetime) -> int:
    """A time as microseconds since 1970, exactly."""
    return (at - _EPOCH) // timedelta(microseconds=1)
