"""The demo's store into Kafka: what has happened until now at once, then what happens, each event at its time.

The past has what real ones have: copies, records that cannot be events, and sales that come late, after their day was
thought complete. Where the lake has events already, only the time since then is made up.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from ingest.console import Progress
from ingest.disorder import Record, records, with_broken
from ingest.event_batch import EventBatch
from ingest.generate import events_from, history
from ingest.generated import produce_live
from ingest.live import Sent
from ingest.live_producer import LiveProducer
from ingest.producer import EventProducer, RecordProducer
from ingest.rows import PURCHASE
from ingest.shape import StoreShape
from lakehouse.clock import at_us
from lakehouse.errors import LakehouseError, TableError
from lakehouse.offsets import Offsets, held_offsets
from lakehouse.pulse import is_running, read_pulse
from lakehouse.settings import Settings, load_settings
from lakehouse.streams import Stop
from lakehouse.tables import SILVER_EVENTS
from operate.lake import last_noted

SHOP = StoreShape(
    products=2_000,
    categories=120,
    brands=60,
    rows_per_visit=6.9,
    buying_share=0.5,
    order_r=1.0,
    order_alpha_days=15.0,
    leave_b=8.0,
    spend_p=6.0,
    spend_q=10.0,
    spend_gamma_cents=1_900.0,
    order_views=3.0,
    order_carts=2.5,
    order_removes=1.0,
)
"""A shop with regular customers and small orders that are much alike: weeks of few events are enough to learn from."""

PAST = timedelta(days=42)
PAST_ROWS_PER_DAY = 315.0
LAST_HOUR = timedelta(hours=1)
LAST_HOUR_RATE_PER_S = 1.4
STREAM_STARTS = "the stream starts"
"""What the line ends with that says so."""

HOLDOUT_DAYS = 14
"""Of this past, so many are kept from training."""

_BROKEN_SHARE = 0.001
_BROKEN_RULES = ("not_json", "missing_price", "bad_event_time", "unknown_event_type", "bad_user_id")
_LATE = (timedelta(hours=42), timedelta(hours=18))
"""A day and a night: of a night alone there may be no sale."""

_LATE_OF = 3
"""Sales to one user of so many come late: without a whole day's, a model would seem to expect too much."""

_LATE_AFTER_S = 45.0
_LOOK_S = 0.05


@dataclass(frozen=True)
class Past:
    """:param records: in the order of time.
    :param late: sales of a day that are sent only while the stream runs.
    """

    records: list[Record]
    late: list[Record]


def past(seed: int, now: datetime, since: datetime | None) -> Past:
    """What has happened in the shop until now.

    :param since: when the newest event happened that the lake has; None: it has none, and weeks are made up.
    """
    first, late, late_from, late_until = [], [], *(_ms(now - age) for age in _LATE)
    last_hour = now - LAST_HOUR
    if since is None:
        days = (PAST - LAST_HOUR) / timedelta(days=1)
        for batch in history(SHOP, seed, now - PAST, days, PAST_ROWS_PER_DAY / 86_400):
            at_ms = batch.rows["at_ms"]
            is_late = (batch.rows["type"] == PURCHASE) & (batch.rows["user_id"] % _LATE_OF == 0)
            is_late &= (at_ms >= late_from) & (at_ms < late_until)
            first += records(EventBatch(batch.rows[~is_late], batch.writer))
            late += records(EventBatch(batch.rows[is_late], batch.writer))
    elif since > last_hour:
        last_hour = since
    for batch in _until(events_from(SHOP, seed, last_hour, LAST_HOUR_RATE_PER_S), _ms(now)):
        first += records(batch)
    return Past(with_broken(first, _BROKEN_SHARE, seed, now, _BROKEN_RULES), late)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def _until(batches: Iterator[EventBatch], end_ms: int) -> Iterator[EventBatch]:
    for batch in batches:
        size = int(np.searchsorted(batch.rows["at_ms"], end_ms))
        yield batch.part(0, size)
        if size < len(batch):
            return


def feed(settings: Settings, rate_per_s: float, seconds: float, seed: int, progress: Progress, stop: Stop) -> None:
    """Sends the past, waits until the tables have it, then sends the stream, and says how it goes.

    :raises ServiceError: Kafka is away.
    """
    begun_s = time.monotonic()
    now = datetime.now(UTC)
    made = past(seed, now, _known_until(settings, now))
    _send(EventProducer(settings), settings, made.records)
    progress.say(f"{len(made.records):,} events of the past sent; the tables take them in ...")
    end = held_offsets(settings).end
    while not (is_running(pulse := read_pulse(settings)) and has_read(pulse.get("written", {}), end)):
        if stop.wait(_LOOK_S):
            return
    progress.say(f"they have it after {time.monotonic() - begun_s:.0f} s; {STREAM_STARTS}")
    with closing(LiveProducer(settings)) as producer:
        late_s, late = time.monotonic() + min(_LATE_AFTER_S, seconds / 2), list(made.late)

        def on_progress(sent: Sent) -> None:
            progress.show(f"{sent.events:,} events sent")
            if late and time.monotonic() >= late_s:
                _send(producer, settings, late)
                progress.say(f"{len(late)} sales of another day sent late: gold.sales_corrections will have them")
                late.clear()

        sent = produce_live(
            producer,
            settings.events_topic,
            seed,
            datetime.now(UTC),
            rate_per_s,
            seconds,
            stop.is_set,
            on_progress,
            SHOP,
        )
    progress.say(f"{sent.events:,} events sent; at worst {sent.worst_behind_s:.2f} s behind the clock")


def _known_until(settings: Settings, now: datetime) -> datetime | None:
    """When the newest event of the lake happened; None where nothing has ever been sent."""
    with suppress(TableError):
        if clock_us := last_noted(SILVER_EVENTS, settings).note.get("clock_us"):
            return at_us(clock_us)
    # A run that was stopped early may have left its past in Kafka alone: another one would not be the same.
    is_empty = not any(held_offsets(settings).end[settings.events_topic].values())
    return None if is_empty else now


def has_read(read: Offsets, end: Offsets) -> bool:
    """Has who has read so far come to this end?"""
    return all(
        read.get(topic, {}).get(partition, 0) >= at for topic, places in end.items() for partition, at in places.items()
    )


def _send(producer: RecordProducer, settings: Settings, sent: list[Record]) -> None:
    producer.send_batch(settings.events_topic, [each.key for each in sent], [each.value for each in sent])
    producer.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m operate.generated_feed", description="Feed the demo's store.")
    parser.add_argument("--rate", type=float, required=True, help="events per second of the stream")
    parser.add_argument("--seconds", type=float, required=True, help="how long it lasts")
    parser.add_argument("--seed", type=int, required=True, help="decides the events, with the time of the start")
    given = parser.parse_args()
    progress, stop = Progress(), Stop().listen()
    try:
        feed(load_settings(), given.rate, given.seconds, given.seed, progress, stop)
    except LakehouseError as error:
        return progress.fail(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
