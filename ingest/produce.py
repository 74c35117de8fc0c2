"""The synthetic stream into Kafka as time passes, or as fast as it can.

At a rate it is an open loop: each event has its moment on the clock, which is its event_time, and is sent then. When
sending falls behind, that is said, and what is due is sent at once; the stream is never thinned out or slowed down.
Each call is a new stretch of the store's life, decided by its seed and start; no stretch is ever sent again.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from ingest.console import Progress, stop_on_signals
from ingest.event_batch import EventBatch
from ingest.generate import events_from
from ingest.producer import EventProducer
from ingest.shape import StoreShape
from lakehouse.errors import InputError, LakehouseError
from lakehouse.settings import Settings, load_settings

TICK_S = 0.02
LATE_S = 1.0  # a stream that is this far behind its clock says so
SLICE_ROWS = 10_000
BULK_RATE_PER_S = 500.0  # of event times, in a stream that is sent as fast as it can
BULK_AGE_S = 86_400.0

SHAPE = StoreShape()


@dataclass(frozen=True)
class Sent:
    """How far a stream is.

    :param at: event_time of the newest event sent.
    :param behind_s: how late that event was sent; 0 in bulk.
    :param worst_behind_s: the most that any was.
    """

    events: int = 0
    at: datetime | None = None
    behind_s: float = 0.0
    worst_behind_s: float = 0.0

    def and_then(self, batch: EventBatch, behind_s: float = 0.0) -> Sent:
        at = datetime.fromtimestamp(int(batch.rows["at_ms"][-1]) / 1000, UTC)
        return Sent(self.events + len(batch), at, behind_s, max(behind_s, self.worst_behind_s))


@dataclass(frozen=True)
class Clock:
    """Wall time in seconds since 1970, and waiting for so many seconds. Tests pass their own."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


WALL = Clock()


def live_start(clock: Clock, rate_per_s: float) -> datetime:
    """When a stream that is begun now can be at its full rate: it first makes the visits that are under way then."""
    return datetime.fromtimestamp(math.ceil(clock.now() + 0.5 + rate_per_s / 300.0), UTC)


def produce_live(
    producer: EventProducer,
    topic: str,
    seed: int,
    start_at: datetime,
    rate_per_s: float,
    seconds: float = math.inf,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Sent], None] = lambda sent: None,
    shape: StoreShape = SHAPE,
    clock: Clock = WALL,
) -> Sent:
    """Send each event of the stretch at its own time: all those of so many seconds, or until somebody says stop.

    :param start_at: see `live_start`; also decides, with the seed, what is in the stretch.
    :param rate_per_s: mean events a second.
    :param on_progress: called after each sending, at most 50 times a second.
    :raises ServiceError: Kafka is away for longer than the client buffers.
    """
    sent, end_ms = Sent(), (start_at.timestamp() + seconds) * 1000
    for batch in events_from(shape, seed, start_at, rate_per_s):
        at_ms, first = batch.rows["at_ms"], 0
        size = int(np.searchsorted(at_ms, end_ms))
        while first < size and not should_stop():
            now_ms = clock.now() * 1000
            last = min(int(np.searchsorted(at_ms[:size], now_ms)), first + SLICE_ROWS)
            if last > first:
                part = batch.part(first, last)
                _send(producer, topic, part)
                sent = sent.and_then(part, behind_s=(now_ms - int(at_ms[first])) / 1000)
                on_progress(sent)
                first = last
            if first < size and at_ms[first] >= now_ms:
                producer.poll()
                clock.sleep(TICK_S)
        if size < len(batch) or should_stop():
            break
    producer.flush()
    return sent


def produce_bulk(
    producer: EventProducer,
    topic: str,
    seed: int,
    start_at: datetime,
    events: float = math.inf,
    until_at: datetime | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Sent], None] = lambda sent: None,
    shape: StoreShape = SHAPE,
) -> Sent:
    """Send the stretch as fast as it can: so many events, those before a time, or until somebody says stop.

    Event times run on from `start_at` at 500 events a second, so a start in the past keeps them out of the future.
    """
    sent, end_ms = Sent(), until_at.timestamp() * 1000 if until_at else math.inf
    for batch in events_from(shape, seed, start_at, BULK_RATE_PER_S):
        size = min(int(np.searchsorted(batch.rows["at_ms"], end_ms)), events - sent.events)
        for first in range(0, int(size), SLICE_ROWS):
            part = batch.part(first, min(int(size), first + SLICE_ROWS))
            _send(producer, topic, part)
            sent = sent.and_then(part)
            on_progress(sent)
            if should_stop():
                break
        if size < len(batch) or sent.events >= events or should_stop():
            break
    producer.flush()
    return sent


def _send(producer: EventProducer, topic: str, batch: EventBatch) -> None:
    producer.send_batch(topic, batch.keys(), batch.json_values())
    producer.poll()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit code 0 when all is sent or somebody stopped it."""
    parser = argparse.ArgumentParser(prog="python -m ingest.produce", description=__doc__)
    parser.add_argument("--rate", type=float, default=100.0, help="events a second; 0: as fast as it can (default 100)")
    parser.add_argument("--seconds", type=float, default=math.inf, help="for how long (default: until stopped)")
    parser.add_argument("--seed", type=int, default=1, help="with the start, decides the events (default 1)")
    parser.add_argument("--bootstrap", help="host:port of Kafka, instead of LAKEHOUSE_KAFKA_BOOTSTRAP")
    given = parser.parse_args(arguments)
    progress, should_stop = Progress(), stop_on_signals()
    try:
        if given.rate < 0 or given.seed < 0:
            raise InputError(f"--rate {given.rate:g} --seed {given.seed}.", "numbers from 0 up", "correct the command")
        sent = _run(load_settings(kafka_bootstrap=given.bootstrap), given, progress, should_stop)
    except LakehouseError as error:
        return progress.fail(error)
    progress.say(f"{sent.events:,} events sent; at worst {sent.worst_behind_s:.2f} s behind the clock")
    return 0


def _run(settings: Settings, given: argparse.Namespace, progress: Progress, should_stop: Callable[[], bool]) -> Sent:
    producer, begun_s = EventProducer(settings), time.monotonic()
    late = [False]

    def show(sent: Sent) -> None:
        if (sent.behind_s > LATE_S) != late[0]:
            late[0] = not late[0]
            progress.say(f"behind by {sent.behind_s:.1f} s, catching up" if late[0] else "on time again")
        progress.show(f"{sent.events:,} events, {sent.events / (time.monotonic() - begun_s):,.0f}/s")

    if given.rate:
        start_at = live_start(WALL, given.rate)
        return produce_live(
            producer, settings.events_topic, given.seed, start_at, given.rate, given.seconds, should_stop, show
        )
    now = datetime.now(UTC)
    return produce_bulk(
        producer,
        settings.events_topic,
        given.seed,
        datetime.fromtimestamp(now.timestamp() - BULK_AGE_S, UTC),
        until_at=now,
        should_stop=lambda: should_stop() or time.monotonic() - begun_s >= given.seconds,
        on_progress=show,
    )


if __name__ == "__main__":
    raise SystemExit(main())
