"""Files and streams into a real Kafka: each row once, whatever stops the feeding."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from ingest.csv_files import write_csv_files
from ingest.csv_rows import csv_rows
from ingest.event_batch import COLUMNS
from ingest.feed import Fed, feed
from ingest.generate import events_from, history
from ingest.produce import BULK_RATE_PER_S, Clock, live_start, produce_bulk, produce_live
from ingest.producer import EventProducer
from ingest.shape import StoreShape
from lakehouse.errors import InputError, ServiceError, SettingError
from lakehouse.settings import Settings
from operate.services.kafka import KafkaBroker
from operate.services.topics import ensure_topics
from tests.kafka_fixture import kafka_broker  # noqa: F401 (a fixture)

START = datetime(2020, 2, 3, tzinfo=UTC)
SHAPE = StoreShape(products=2_000, categories=50, brands=40)
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def store(kafka_broker: KafkaBroker, tmp_path: Path) -> Settings:  # noqa: F811
    """Settings with topics of this test's own."""
    name = tmp_path.name
    settings = Settings(
        kafka_bootstrap=kafka_broker.bootstrap,
        events_topic=f"events-{name}",
        unreadable_topic=f"unreadable-{name}",
        sales_topic=f"sales-{name}",
        topic_partitions=2,
        home=tmp_path / "home",
    )
    ensure_topics(kafka_broker.bootstrap, settings)
    return settings


def committed(settings: Settings, topic: str) -> list[Message]:
    """All records that a reader of committed records sees, partition by partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": settings.kafka_bootstrap,
            "group.id": "test",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 20,
        }
    )
    consumer.assign([TopicPartition(topic, p, 0) for p in range(settings.topic_partitions)])
    found, ends = list[Message](), 0
    while ends < settings.topic_partitions:
        for message in consumer.consume(10_000, 0.2):
            error = message.error()
            if error is None:
                found.append(message)
            else:
                assert error.code() == KafkaError._PARTITION_EOF, error
                ends += 1
    consumer.close()
    return found


def values(settings: Settings) -> Counter[bytes | None]:
    return Counter(message.value() for message in committed(settings, settings.events_topic))


def values_of(files: list[Path]) -> Counter[bytes]:
    return Counter(row.value for path in files for row in csv_rows(path))


def two_days(folder: Path, rows: int) -> list[Path]:
    """Other rows for each folder, because positions outlive a test."""
    return write_csv_files(history(SHAPE, sum(str(folder).encode()), START, 2, rows / 172_800), folder / "files", "day")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return two_days(tmp_path, 15_000)


def stop_after(calls: int) -> Callable[[], bool]:
    left = iter(range(calls))
    return lambda: next(left, None) is None


def test_rows_arrive_once_in_order_and_keyed_by_user(store: Settings, files: list[Path]) -> None:
    fed = feed(files, store)
    assert (fed.finished, fed.rows, fed.unreadable, str(fed.plan)) == (True, values_of(files).total(), 0, "pass 1")
    messages = committed(store, store.events_topic)
    assert Counter(m.value() for m in messages) == values_of(files)
    times: dict[int | None, str] = {}
    for message in messages:
        event = json.loads(message.value() or b"")
        assert message.key() == event["user_id"].encode()
        assert times.get(message.partition(), "") <= event["event_time"]
        times[message.partition()] = event["event_time"]
    assert len(times) == 2


def test_a_stopped_feed_goes_on_where_it_was_and_then_begins_another_pass(store: Settings, files: list[Path]) -> None:
    said: list[str] = []

    def note(fed: Fed) -> None:
        if not fed.rows:
            said.append(str(fed.plan))

    assert not feed(files, store, note, stop_after(4), rate_per_s=12_000).finished
    assert feed(files, store, note).finished
    assert values(store) == values_of(files)
    assert feed(files, store, note).finished
    once = values_of(files)
    assert values(store) == once + once
    assert (said[0], said[2]) == ("pass 1", "pass 2")
    assert said[1].startswith(f"resumed at {files[1]} line ")


def test_kill_9_at_any_moment_loses_and_doubles_nothing(store: Settings, tmp_path: Path) -> None:
    files = two_days(tmp_path, 45_000)
    chance = random.Random(20)
    resumed = 0
    environment = {**os.environ, **store.as_environment()}
    command = [sys.executable, "-m", "ingest.feed", "--rate", "12000", *map(str, files)]
    for _ in range(5):
        delay_s = chance.uniform(0.0, 0.5)
        process = subprocess.Popen(
            command, env=environment, cwd=REPOSITORY, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        )
        assert process.stderr is not None
        plan = process.stderr.readline().strip()
        time.sleep(delay_s)
        process.kill()
        process.communicate()
        print(f"{plan}; killed after {delay_s:.2f} s")
        resumed += plan.startswith("resumed at")
        assert plan.startswith("resumed at") or plan == "pass 1", plan
    assert resumed > 1, "the kills came before anything was fed"
    last = feed(files, store)
    assert last.finished and last.plan.pass_number == 1
    assert values(store) == values_of(files)


def test_a_second_feeder_fences_the_first_off(store: Settings, files: list[Path]) -> None:
    other: list[Fed] = []

    def take_over(fed: Fed) -> None:
        if fed.rows and not other:
            other.append(feed(files, store))

    with pytest.raises(ServiceError, match="fenced"):
        feed(files, store, take_over, rate_per_s=40_000)
    assert other[0].finished
    assert values(store) == values_of(files)


def test_unreadable_rows_go_aside_with_their_place_and_reason(store: Settings, tmp_path: Path) -> None:
    good = b"2019-10-01 00:14:54 UTC,cart,4497,1487580006895846315,,runail,3.11,554342223,0b974342\n"
    path = tmp_path / "broken.csv"
    path.write_bytes(",".join(COLUMNS).encode() + b"\n" + good + b"oops\n" + good.replace(b"runail", b"\xff") + good)
    fed = feed([path], store)
    assert (fed.rows, fed.unreadable) == (4, 2)
    assert sum(values(store).values()) == 2
    aside = {m.value(): dict(m.headers() or []) for m in committed(store, store.unreadable_topic)}
    assert aside[b"oops\n"] == {"file": b"broken.csv", "line": b"3", "reason": b"1 columns instead of 9"}
    assert {headers["line"] for headers in aside.values()} == {b"3", b"4"}


def test_what_cannot_be_fed_is_said_before_anything_is_sent(store: Settings, files: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        feed([files[0], tmp_path / "missing.csv"], store)
    with pytest.raises(InputError, match="same file"):
        feed([files[0], files[0]], store)
    with pytest.raises(InputError, match="No files"):
        feed([], store)
    assert not values(store)


def test_a_kafka_that_is_away_is_named() -> None:
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1:9 "):
        EventProducer(Settings(kafka_bootstrap="127.0.0.1:9"), timeout_s=1)
    with pytest.raises(SettingError, match="KAFKA_BOOTSTRAP"):
        EventProducer(Settings())


def test_a_live_stream_sends_each_event_at_its_time_and_none_twice(store: Settings) -> None:
    clock = FakeClock(START.timestamp())
    start_at = live_start(Clock(clock.now, clock.sleep), 100)
    sent = produce_live(
        EventProducer(store), store.events_topic, 1, start_at, 100, 30, shape=SHAPE, clock=Clock(clock.now, clock.sleep)
    )
    expected = next(events_from(SHAPE, 1, start_at, 100))
    expected = expected.part(0, int((expected.rows["at_ms"] < (start_at.timestamp() + 30) * 1000).sum()))
    assert values(store) == Counter(expected.json_values())
    assert (sent.events, sent.behind_s < 0.1) == (len(expected), True)
    assert clock.now() - start_at.timestamp() == pytest.approx(30, abs=2)


def test_a_live_stream_that_fell_behind_says_so_and_sends_all(store: Settings) -> None:
    clock = FakeClock(START.timestamp())
    behind: list[float] = []

    def stall(now: float) -> float:
        return now + (20 if now - START.timestamp() > 10 else 0)

    wall = Clock(lambda: stall(clock.now()), clock.sleep)
    sent = produce_live(
        EventProducer(store),
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


class FakeClock:
    """Time that passes only while somebody sleeps."""

    def __init__(self, now_s: float) -> None:
        self._now_s = now_s

    def now(self) -> float:
        return self._now_s

    def sleep(self, seconds: float) -> None:
        self._now_s += seconds
