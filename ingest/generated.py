"""The generator's rows as a stream into Kafka: as time passes, or as fast as it can.

Each call is a new stretch of the store's life, decided by its seed and start; no stretch is ever sent again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ingest.event_batch import EventBatch
from ingest.generate import events_from
from ingest.live import WALL, Clock, LiveRecordProducer, Sent, send_when_due
from ingest.producer import RecordProducer
from ingest.shape import StoreShape

SLICE_ROWS = 10_000
BULK_RATE_PER_S = 500.0  # of event times, in a stream that is sent as fast as it can

SHAPE = StoreShape()


@dataclass(frozen=True)
class GeneratedBlock:
    """Generated events for a topic; each is due at its event_time."""

    batch: EventBatch
    topic: str

    @cached_property
    def due_s(self) -> npt.NDArray[np.float64]:
        return np.asarray(self.batch.rows["at_ms"] / 1000.0)

    def send(self, producer: RecordProducer, first: int, last: int) -> int:
        part = self.batch.part(first, last)
        producer.send_batch(self.topic, part.keys(), part.json_values())
        return 0

    def at(self, row: int) -> datetime:
        return datetime.fromtimestamp(int(self.batch.rows["at_ms"][row]) / 1000, UTC)


def generated(
    topic: str, seed: int, start_at: datetime, rate_per_s: float, shape: StoreShape
) -> Iterator[GeneratedBlock]:
    """The stretch, endless. `rate_per_s`: mean events a second of event_time."""
    return (GeneratedBlock(batch, topic) for batch in events_from(shape, seed, start_at, rate_per_s))


def live_start(clock: Clock, rate_per_s: float) -> datetime:
    """When a stream that is begun now can be at its full rate: it first makes the visits that are under way then."""
    return datetime.fromtimestamp(math.ceil(clock.now() + 0.5 + rate_per_s / 300.0), UTC)


def produce_live(
    producer: LiveRecordProducer,
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
    :param on_progress: see `send_when_due`.
    :raises ServiceError: Kafka is away for longer than the client buffers.
    """
    blocks = generated(topic, seed, start_at, rate_per_s, shape)
    return send_when_due(producer, blocks, start_at.timestamp() + seconds, should_stop, on_progress, clock)


def produce_bulk(
    producer: RecordProducer,
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
    sent, end_s = Sent(), until_at.timestamp() if until_at else math.inf
    for block in generated(topic, seed, start_at, BULK_RATE_PER_S, shape):
        size = int(min(int(np.searchsorted(block.due_s, end_s)), events - sent.events))
        for first in range(0, size, SLICE_ROWS):
            last = min(size, first + SLICE_ROWS)
            block.send(producer, first, last)
            producer.poll()
            sent = sent.and_then(last - first, block.at(last - 1))
            on_progress(sent)
            if should_stop():
                break
        if size < len(block.batch) or sent.events >= events or should_stop():
            break
    producer.flush()
    return sent
