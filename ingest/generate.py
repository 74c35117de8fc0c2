"""A synthetic stream of store events, the same for the same shape, seed and start. Nothing here reads a clock.

`history` is a stretch of days with busy and quiet hours; `events_from` is endless at an even rate, to be sent as time
passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from ingest.catalogue import catalogue
from ingest.event_batch import EventBatch, Writer
from ingest.shape import StoreShape
from ingest.stream import Stream
from ingest.week import Week, busy_week, even_week

DAY_S = 86_400.0


def history(
    shape: StoreShape, seed: int, start_at: datetime, days: float, rate_per_s: float | None = None
) -> Iterator[EventBatch]:
    """Events of these days in the order of time, with the week's busy and quiet hours.

    :param start_at: with a time zone.
    :param rate_per_s: mean events a second; by default as the shape says.
    """
    stream, writer = _stream(shape, busy_week(), seed, start_at, rate_per_s or shape.rows_per_day / DAY_S)
    end_ms = round((start_at.timestamp() + days * DAY_S) * 1000)
    for complete_until_s, rows in stream.blocks():
        last = complete_until_s * 1000 >= end_ms
        yield EventBatch(rows[rows["at_ms"] < end_ms] if last else rows, writer)
        if last:
            return


def events_from(shape: StoreShape, seed: int, start_at: datetime, rate_per_s: float) -> Iterator[EventBatch]:
    """Events from this time on at an even mean rate, endless. Another start, with the same seed, is another stretch."""
    stream, writer = _stream(shape, even_week(), seed, start_at, rate_per_s)
    for _, rows in stream.blocks():
        yield EventBatch(rows, writer)


def _stream(shape: StoreShape, week: Week, seed: int, start_at: datetime, rate_per_s: float) -> tuple[Stream, Writer]:
    goods = catalogue(shape)
    return Stream(shape, goods, week, seed, start_at.timestamp(), rate_per_s), Writer(goods)
