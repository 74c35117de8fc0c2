"""How far each table is behind its source: what waits, and since when. Nothing is taken in on trust."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, TopicPartition

from gold.folds import FOLDS
from lakehouse.clock import store_now, us_of
from lakehouse.errors import TableError
from lakehouse.offsets import held_offsets
from lakehouse.reading import Reading
from lakehouse.settings import Settings
from lakehouse.tables import (
    BRONZE_EVENTS,
    GOLD_ABANDONED_CARTS,
    GOLD_PRODUCT_SALES,
    SILVER_EVENTS,
    SILVER_SESSIONS,
    Table,
)
from operate.held import reader_at
from operate.lake import commits_of, last_noted, open_table, query

STARTING_S, LATE_S, SLOW_LATE_S = 120.0, 60.0, 120.0
"""A run has so long to start; after that what has waited longer is late. The slower tables give way to the sales."""

_KAFKA_S = 10.0


@dataclass(frozen=True)
class Behind:
    """:param waiting: records or rows of the source that the table has not taken in.
    :param since_s: when the oldest of them was there, in seconds since 1970; None: of none, or not known.
    :param late_after_s: for how long they may wait while something runs.
    """

    table: str
    waiting: int
    since_s: float | None = None
    late_after_s: float = LATE_S

    def waited_s(self, now_s: float) -> float:
        return 0.0 if self.since_s is None else max(0.0, now_s - self.since_s)

    def is_late(self, now_s: float, began_s: float | None) -> bool:
        """:param began_s: when the run began; None: nothing runs, and so nothing is late."""
        if self.since_s is None or began_s is None:
            return False
        return max(self.since_s, began_s + STARTING_S) < now_s - self.late_after_s


def bronze_behind(settings: Settings) -> Behind:
    """:raises ServiceError: Kafka does not answer."""
    held = held_offsets(settings)
    try:
        reading = Reading.of_note(last_noted(BRONZE_EVENTS, settings).note)
    except TableError:
        reading = Reading()
    starts: dict[tuple[str, str], int] = {}
    waiting = 0
    for topic, ends in held.end.items():
        read = reading.in_kafka(topic)
        for partition, end in ends.items():
            start = max(read.get(partition, 0), held.first[topic][partition])
            if start < end:
                starts[topic, partition] = start
                waiting += end - start
    return Behind(BRONZE_EVENTS.name, waiting, _oldest_s(settings, starts) if starts else None)


def _oldest_s(settings: Settings, starts: Mapping[tuple[str, str], int]) -> float | None:
    """When Kafka had the first record after these offsets. Not known where producers stamp."""
    places = [TopicPartition(topic, int(partition), start) for (topic, partition), start in starts.items()]
    found: dict[tuple[str, int], float | None] = {}
    with reader_at(settings, places) as consumer:
        end_s = time.monotonic() + _KAFKA_S
        while len(found) < len(starts) and time.monotonic() < end_s:
            record = consumer.poll(0.2)
            if record is not None:
                kind, at_ms = record.timestamp()
                is_known = not record.error() and kind == TIMESTAMP_LOG_APPEND_TIME
                place = (str(record.topic()), int(record.partition() or 0))
                found.setdefault(place, at_ms / 1000 if is_known else None)
    return min((at_s for at_s in found.values() if at_s is not None), default=None)


def silver_behind(settings: Settings) -> Behind:
    """Out: silver.events, behind bronze.events."""
    return _by_commits(SILVER_EVENTS, BRONZE_EVENTS, "bronze_version", settings)


def gold_behind(settings: Settings) -> list[Behind]:
    """Out: silver.sessions and gold's tables, but for carts and scores, behind silver.events."""
    slow = (SILVER_SESSIONS, *(fold.table for fold in FOLDS))
    return [
        _by_commits(GOLD_PRODUCT_SALES, SILVER_EVENTS, "silver_version", settings),
        *(_by_commits(table, SILVER_EVENTS, "silver_version", settings, SLOW_LATE_S) for table in slow),
    ]


def _by_commits(table: Table, source: Table, noted: str, settings: Settings, late_after_s: float = LATE_S) -> Behind:
    """A table's notes say which version of its source it has read; for a commit without rows nobody waits."""
    try:
        newest = open_table(source, settings).version()
    except TableError:
        return Behind(table.name, 0)
    try:
        read = int(last_noted(table, settings).note.get(noted, 0))
    except TableError:
        read = 0
    unread = commits_of(source, settings, newest - read) if newest > read else []
    with_rows = [
        commit for commit in unread if commit.version > read and int(commit.metrics.get("numOutputRows", 0)) > 0
    ]
    if not with_rows:
        return Behind(table.name, 0)
    rows = sum(int(commit.metrics["numOutputRows"]) for commit in with_rows)
    return Behind(table.name, rows, with_rows[-1].committed_at.timestamp(), late_after_s)


def carts_behind(settings: Settings, now: datetime, for_s: float = 0.0) -> Behind:
    """Out: gold.abandoned_carts, behind silver.sessions and the store clock.

    A round that changes nothing makes no commit, so the carts themselves are asked.

    :param for_s: those alone that have waited for so long: each moment brings new ones.
    """
    name = GOLD_ABANDONED_CARTS.name
    try:
        clock = store_now(last_noted(SILVER_EVENTS, settings).note, now)
        open_table(SILVER_SESSIONS, settings)
    except TableError:
        return Behind(name, 0)
    if clock is None:
        return Behind(name, 0)
    try:
        open_table(GOLD_ABANDONED_CARTS, settings)
        is_there = f"(session_key, due_us) IN (SELECT (session_key, epoch_us(abandoned_at)) FROM {name})"
    except TableError:
        is_there = "false"
    (row,) = query(
        f"""WITH held AS (
                SELECT session_key, updated_at, epoch_us(last_cart_change_at) + {settings.cart_abandon_s * 1_000_000}
                       AS due_us
                FROM silver.sessions WHERE len(cart) > 0
            ), left_alone AS (
                SELECT *, greatest(epoch_us(updated_at), due_us + {us_of(now) - us_of(clock)}) AS since_us FROM held
            )
            SELECT count(*), min(since_us) FROM left_alone
            WHERE since_us <= {us_of(now)} - {for_s * 1e6:.0f} AND NOT {is_there}""",
        settings,
    ).fetchall()
    waiting, since_us = row
    return Behind(name, waiting, None if since_us is None else since_us / 1e6, SLOW_LATE_S)
