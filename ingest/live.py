"""The open loop: each row has its moment on the clock, and is sent then, however slow the receiver is.

When sending falls behind, that is said, and what is due is sent at once; the stream is never thinned or slowed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ingest.producer import RecordProducer

TICK_S = 0.02
LONGEST_SLEEP_S = 0.25  # so soon a wish to stop is seen
SLICE_ROWS = 2_000


class LiveRecordProducer(RecordProducer, Protocol):
    def has_room(self) -> bool:
        """Whether a slice of rows can be queued now, without waiting.

        :raises ServiceError: a record could not be delivered.
        """


class Block(Protocol):
    """Rows in the order of their moments. A stream is one block after another, each made when the last is sent."""

    @property
    def due_s(self) -> npt.NDArray[np.float64]:
        """The moment of each row, in seconds since 1970; ascending."""

    def send(self, producer: RecordProducer, first: int, last: int) -> int:
        """Queue the rows from first up to, not with, last. Returns how many of them were unreadable."""

    def at(self, row: int) -> datetime | None:
        """When the row happened; None if it does not say."""


@dataclass(frozen=True)
class Clock:
    """Wall time in seconds since 1970, and waiting for so many seconds. Tests pass their own."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


WALL = Clock()


@dataclass(frozen=True)
class Sent:
    """How far a stream is.

    :param events: rows sent, unreadable ones too.
    :param at: when the newest row sent that has a time happened.
    :param behind_s: how late the last slice was sent; 0 in bulk, and while nothing is due.
    :param worst_behind_s: the most that any was.
    :param quiet_s: how long it is until the next row is due; 0 while rows are.
    """

    events: int = 0
    unreadable: int = 0
    at: datetime | None = None
    behind_s: float = 0.0
    worst_behind_s: float = 0.0
    quiet_s: float = 0.0

    def and_then(self, events: int, at: datetime | None, behind_s: float = 0.0, unreadable: int = 0) -> Sent:
        sent = replace(self, events=self.events + events, unreadable=self.unreadable + unreadable, at=at or self.at)
        return sent.late_by(behind_s)

    def late_by(self, behind_s: float) -> Sent:
        return replace(self, behind_s=behind_s, worst_behind_s=max(behind_s, self.worst_behind_s), quiet_s=0.0)


def send_when_due(
    producer: LiveRecordProducer,
    blocks: Iterable[Block],
    until_s: float,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[Sent], None] = lambda sent: None,
    clock: Clock = WALL,
) -> Sent:
    """Send each row at its moment: all rows due before a time, or until the last one, or until somebody says stop.

    :param until_s: seconds since 1970; ends as soon as nothing more is due before it.
    :param on_progress: called after each sending and each wait, at most some 50 times a second.
    :raises ServiceError: Kafka is away for longer than the client buffers.
    """
    sent = Sent()
    for block in blocks:
        first, size = 0, int(np.searchsorted(block.due_s, until_s))
        due_s = block.due_s[:size]
        while first < size and not should_stop():
            producer.poll()
            now_s = clock.now()
            last = min(int(np.searchsorted(due_s, now_s, side="right")), first + SLICE_ROWS)
            wait_s = float(due_s[first]) - now_s
            if last > first and producer.has_room():
                unreadable = block.send(producer, first, last)
                sent = sent.and_then(last - first, block.at(last - 1), -wait_s, unreadable)
                first = last
            else:
                sent = replace(sent, behind_s=0.0, quiet_s=wait_s) if wait_s > 0 else sent.late_by(-wait_s)
                clock.sleep(min(max(wait_s, TICK_S), LONGEST_SLEEP_S))
            on_progress(sent)
        if size < len(block.due_s) or should_stop():
            break
    producer.flush()
    return sent
