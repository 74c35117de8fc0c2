"""Live streams into a real Kafka, from the generator and from files, through both clients."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ingest.console import Progress
from ingest.generate import events_from
from ingest.generated import BULK_RATE_PER_S, live_start, produce_bulk, produce_live
from ingest.live import Clock
from ingest.live_producer import LiveProducer
from ingest.produce import Wish, produce
from ingest.producer import EventProducer
from ingest.shape import StoreShape
from lakehouse.errors import ServiceError, SettingError
from lakehouse.event_contract import FIELDS
from lakehouse.kafka_access import for_librdkafka
from lakehouse.settings import Settings
from operate.services.kafka import KafkaBroker
from tests.fake_stream import FakeClock
from tests.services.store import committed, store_in, values

START = datetime(2020, 2, 3, tzinfo=UTC)
SHAPE = StoreShape(products=2_000, categories=50, brands=40)
REPOSITORY = Path(__file__).parents[2]
ROW = "{at} UTC,view,{product},1487580006895846315,,runail,3.11,{user},0b974342\n"


@pytest.fixture
def store(kafka_broker: KafkaBroker, tmp_path: Path) -> Settings:
    return store_in(kafka_broker, tmp_path)


@pytest.fixture
def live(store: Settings) -> Iterator[LiveProducer]:
    with closing(LiveProducer(store)) as producer:
        yield producer


def recording(folder: Path, seconds: int, rows_per_s: int) -> Path:
    at = (START + timedelta(seconds=n // rows_per_s) for n in range(seconds * rows_per_s))
    rows = [ROW.format(at=f"{t:%Y-%m-%d %H:%M:%S}", product=n, user=n % 50) for n, t in enumerate(at)]
    path = folder / f"recording-{seconds}.csv"
    path.write_text(",".join(FIELDS) + "\n" + "".join(rows))
    return path


def test_both_clients_put_a_key_into_the_same_partition(
    kafka_broker: KafkaBroker,
    tmp_path: Path,
) -> None:
    store = store_in(kafka_broker, tmp_path, topic_partitions=4)
    keys = [b"%d" % n for n in range(512_000_000, 512_000_300)] + [b"", b"0", b"\x00", b"\xff\xfe\x80"]
    keys += [chr(0x400 + n).encode() * (1 + n % 7) for n in range(100)] + [bytes(range(n, 256)) for n in range(100)]
    bulk = EventProducer(store)
    bulk.send_batch(store.events_topic, keys, [b"bulk"] * len(keys))
    for key in keys:
        bulk.send(store.events_topic, key, b"bulk, one by one")
    bulk.flush()
    with closing(LiveProducer(store)) as live:
        live.send_batch(store.events_topic, keys, [b"live"] * len(keys))
        live.flush()
    places: dict[bytes | None, set[int | None]] = defaultdict(set)
    messages = committed(store, store.events_topic)
    for message in messages:
        places[message.key() or b""].add(message.partition())
    assert len(messages) == 3 * len(keys)
    assert {key: where for key, where in places.items() if len(where) != 1} == {}
    assert places.keys() == set(keys)
    assert {p for where in places.values() for p in where} == {0, 1, 2, 3}


def test_a_kafka_that_is_away_is_named() -> None:
    for client in (EventProducer, LiveProducer):
        with pytest.raises(ServiceError, match=r"127\.0\.0\.1:9 "):
            client(Settings(kafka_bootstrap="127.0.0.1:9"), timeout_s=0.3)
        with pytest.raises(SettingError, match="KAFKA_BOOTSTRAP"):
            client(Settings())


def test_a_record_that_kafka_refuses_is_an_error(store: Settings, live: LiveProducer) -> None:
    small = f"small-{store.events_topic}"
    admin = AdminClient(for_librdkafka(store))
    admin.create_topics([NewTopic(small, 1, config={"max.message.bytes": "1000"})])[small].result(10)
    live.send(small, b"1", b"x" * 2_000)
    with pytest.raises(ServiceError, match=f"{store.kafka_bootstrap} .*MessageSizeTooLarge"):
        live.flush()
    with pytest.raises(ServiceError, match="MessageSizeTooLarge"):
        live.send(store.events_topic, b"1", b"x" * 9_000_000)


def test_a_full_queue_waits_and_keeps_the_order_of_each_key(
    store: Settings, live: LiveProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.live_producer.MOST_QUEUED_ROWS", 100)
    for first in range(0, 3_000, 500):
        numbers = range(first, first + 500)
        live.send_batch(store.events_topic, [b"%d" % (n % 7) for n in numbers], [b"%d" % n for n in numbers])
        assert len(live._waiting) <= 100
    live.flush()
    by_key: dict[bytes | None, list[int]] = defaultdict(list)
    for message in committed(store, store.events_topic):
        by_key[message.key()].append(int(message.value() or b""))
    assert by_key == {b"%d" % k: list(range(k, 3_000, 7)) for k in range(7)}


def test_a_live_stream_sends_each_event_at_its_time_and_none_twice(store: Settings, live: LiveProducer) -> None:
    clock = FakeClock(START.timestamp())
    start_at = live_start(clock.clock(), 100)
    sent = produce_live(live, store.events_topic, 1, start_at, 100, 30, shape=SHAPE, clock=clock.clock())
    expected = next(events_from(SHAPE, 1, start_at, 100))
    expected = expected.part(0, int((expected.rows["at_ms"] < (start_at.timestamp() + 30) * 1000).sum()))
    assert values(store) == Counter(expected.json_values())
    assert (sent.events, sent.behind_s < 0.1) == (len(expected), True)
    assert clock.now() - start_at.timestamp() == pytest.approx(30, abs=2)


def test_a_live_stream_that_fell_behind_says_so_and_sends_all(store: Settings, live: LiveProducer) -> None:
    clock = FakeClock(START.timestamp())
    behind: list[float] = []

    def stall(now: float) -> float:
        return now + (20 if now - START.timestamp() > 10 else 0)

    wall = Clock(lambda: stall(clock.now()), clock.sleep)
    sent = produce_live(
        live,
        store.events_topic,
        1,
        START,
        100,
        60,
        shape=SHAPE,
        clock=wall,
        on_progress=lambda sent: behind.append(sent.behind_s),
    )
    expected = next(events_from(SHAPE, 1, START, 100)).rows["at_ms"] < (START.timestamp() + 60) * 1000
    assert sent.events == int(expected.sum()) == values(store).total()
    assert sent.worst_behind_s == max(behind) == pytest.approx(20, abs=1)
    assert behind[-1] < 0.5


def test_a_bulk_stream_ends_where_it_should_and_stops_when_told(store: Settings) -> None:
    producer = EventProducer(store)
    sent = produce_bulk(producer, store.events_topic, 1, START, events=30_000, shape=SHAPE)
    assert sent.events == 30_000 == values(store).total()
    until_at = START + timedelta(seconds=20)
    sent = produce_bulk(producer, store.events_topic, 2, START, until_at=until_at, shape=SHAPE)
    assert sent.events == pytest.approx(20 * BULK_RATE_PER_S, rel=0.2)
    assert sent.at is not None and sent.at < until_at
    told = threading.Event()
    sent = produce_bulk(
        producer, store.events_topic, 3, START, should_stop=told.is_set, on_progress=lambda s: told.set(), shape=SHAPE
    )
    assert 0 < sent.events <= 10_000


def test_files_are_played_in_order_with_what_is_unreadable_aside(store: Settings, tmp_path: Path) -> None:
    one, two = recording(tmp_path, 20, 10), tmp_path / "two.csv"
    two.write_bytes(b"oops\n" + ROW.format(at="2020-02-03 00:00:05", product=9_999, user=0).encode())
    began_s = time.time()
    sent = produce(store, Wish((one, two), speed=20.0, is_live=True), Progress(), lambda: False)
    took_s = time.time() - began_s
    assert (sent.events, sent.unreadable) == (202, 1)
    assert 0.9 < took_s < 10, "20 s of a recording at 20 times its speed"
    (aside,) = committed(store, store.unreadable_topic)
    assert aside.value() == b"oops\n"
    assert dict(aside.headers() or []) == {
        "file": b"two.csv",
        "line": b"1",
        "bytes": b"5",
        "reason": b"1 columns instead of 9",
    }
    messages = committed(store, store.events_topic)
    late = [(message.timestamp()[1] / 1000) - event_time(message) for message in messages]
    assert len(messages) == 201
    # A busy machine sends late, and says so.
    assert min(late) > -0.01 and max(late) < sent.worst_behind_s + 1, "Kafka's time of each record is its event_time"
    of_one_user = [m for m in messages if m.key() == b"0"]
    times = [event_time(message) for message in of_one_user]
    assert times == sorted(times)
    assert [json.loads(m.value() or b"")["product_id"] for m in of_one_user] == ["0", "50", "9999", "100", "150"]


def event_time(message: Message) -> float:
    text = json.loads(message.value() or b"")["event_time"]
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S.%f %Z").replace(tzinfo=UTC).timestamp()


def test_sigterm_ends_a_long_wait_at_once_with_all_sent(store: Settings, tmp_path: Path) -> None:
    path = tmp_path / "gap.csv"
    times = ["2020-02-03 00:00:00"] * 30 + ["2020-02-05 00:00:00"]
    path.write_text("".join(ROW.format(at=at, product=n, user=n) for n, at in enumerate(times)))
    process = subprocess.Popen(
        [sys.executable, "-m", "ingest.produce", str(path)],
        env={**os.environ, **store.as_environment()},
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "30 rows sent; the next is due in 2.0 days\n"
    told_s = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, time.monotonic() - told_s < 30) == (0, True), said
    assert re.match(r"30 rows sent, 0 of them unreadable; at worst \d\.", said), said
    assert values(store).total() == 30
