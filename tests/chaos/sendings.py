"""What is sent: generated events with copies, late and broken ones among them, over all partitions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from ingest.disorder import Record, records, with_broken, with_copies, with_late
from ingest.generate import events_from
from ingest.shape import StoreShape

DAYS = 29  # copies and late events can then be weeks behind
_COPIES, _LATE, _BROKEN = 0.05, 0.03, 0.01
_NEAR_ROWS, _NEIGHBOURS = 100, 50
# Few products and many orders, so that windows have several sales; refunds and gifts are not left to luck.
_SHAPE = StoreShape(
    products=60, categories=20, brands=20, buying_share=0.25, refund_share=0.03, free_share=0.03, more_copies_share=0.1
)


@dataclass(frozen=True)
class Sending:
    """A record, and the partition that it is sent to."""

    partition: int
    record: Record


def made_input(size: int, seed: int, now: datetime) -> list[Record]:
    """About so many records of the 29 days that ended yesterday, in the order in which they are sent.

    5 % are sent again, half of them soon and half of them up to weeks later; 3 % come late by minutes to weeks; 1 % are
    broken, in each way of `tests.disorder` as often as in the others. The same seed on the same day (UTC) makes the
    same records, but for the times that are a year ahead of `now`.
    """
    start_at = now.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS + 1)
    events = round(size / (1 + _COPIES))
    good: list[Record] = []
    for batch in events_from(_SHAPE, seed, start_at, events / (DAYS * 86_400)):
        good += records(batch)
        if len(good) >= events:
            break
    twice = with_copies(good[:events], _COPIES / 2, seed, _NEAR_ROWS)
    twice = with_copies(twice, _COPIES / 2, seed + 1, len(twice))
    return with_broken(with_late(twice, _LATE, seed), _BROKEN, seed, now)


def spread(input_: Sequence[Record], partitions: int, seed: int) -> list[Sending]:
    """The same records, neighbours out of order and each to any partition: nothing of one user or event is together."""
    rng = np.random.default_rng(seed)
    order = np.argsort(np.arange(len(input_)) + rng.uniform(0, _NEIGHBOURS, len(input_)), kind="stable")
    chosen = rng.integers(0, partitions, len(input_))
    return [Sending(partition, input_[index]) for index, partition in zip(order.tolist(), chosen.tolist(), strict=True)]


def as_table(sendings: Sequence[Sending]) -> pa.Table:
    """Out: a row per record: partition, key, value, and `rules`, the names of those that it breaks."""
    return pa.table(
        {
            "partition": pa.array([sending.partition for sending in sendings], pa.int32()),
            "key": pa.array([sending.record.key for sending in sendings], pa.binary()),
            "value": pa.array([sending.record.value for sending in sendings], pa.binary()),
            "rules": pa.array([list(sending.record.rules) for sending in sendings], pa.list_(pa.string())),
        }
    )
