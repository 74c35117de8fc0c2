"""Topics that are made anew, cut, stamped by their producers: real Kafka, from bronze to silver and the audit."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from pyspark.sql import DataFrame, SparkSession

import bronze.job
from bronze.land import Landing
from lakehouse.errors import DataLossError
from lakehouse.kafka_access import for_librdkafka
from lakehouse.offsets import held_offsets
from lakehouse.producers import make_producer
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from lakehouse.tables import BRONZE_EVENTS, SILVER_EVENTS
from operate.accept import accept
from operate.audit import audit
from operate.lake import last_noted, query
from operate.services.kafka import KafkaBroker
from operate.services.topics import ensure_topics, topic_differences
from silver.job import refine
from silver.quality import QualityLog
from silver.refine import Refinement
from tests.builders import event
from tests.services.sinks import wait_for
from tests.services.store import store_in


class Store:
    """A lake that is fed from topics of its own."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self.spark, self.settings = spark, settings
        self.admin = AdminClient(for_librdkafka(settings) | {"log_level": 0})

    def send(self, numbers: range, at: datetime | None = None, event_at: Callable[[int], str] | None = None) -> None:
        """A sale for each number. :param at: how the producer stamps it."""
        producer = make_producer(self.settings)
        for number in numbers:
            fields: dict[str, Any] = {"product_id": number, "event_type": "purchase"}
            if event_at:
                fields["event_time"] = event_at(number)
            value = json.dumps(event(**fields)).encode()
            stamp = {} if at is None else {"timestamp": round(at.timestamp() * 1000)}
            producer.produce(self.settings.events_topic, value, key=str(number), **stamp)
        producer.flush()

    def land(self) -> None:
        bronze.job.follow(self.spark, self.settings, Stop(), once=True)

    def refine(self) -> None:
        refinement, quality = Refinement(self.spark, self.settings), QualityLog(self.spark, self.settings)
        refine(self.spark, self.settings, refinement, quality, Stop(), once=True)
        quality.write()

    def products(self) -> list[int]:
        return sorted(row[0] for row in query("SELECT product_id FROM silver.events", self.settings).fetchall())

    def make_anew(self, partitions: int) -> None:
        """Deletes the topic and makes it again."""
        topic = self.settings.events_topic
        self.admin.delete_topics([topic])[topic].result()
        wait_for(lambda: topic not in self.admin.list_topics(timeout=5).topics, "the topic is still there")
        self.settings = self.settings.model_copy(update={"topic_partitions": partitions})
        ensure_topics(self.settings)

    def configure(self, **config: str) -> None:
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET) for name, value in config.items()
        ]
        resource = ConfigResource(ConfigResource.Type.TOPIC, self.settings.events_topic, incremental_configs=entries)
        self.admin.incremental_alter_configs([resource])[resource].result()

    def expire(self) -> None:
        """All that is in the topic, as its retention would."""
        topic = self.settings.events_topic
        ends = held_offsets(self.settings).end[topic]
        places = [TopicPartition(topic, int(partition), end) for partition, end in ends.items()]
        for done in self.admin.delete_records(places).values():
            done.result()

    def broken(self) -> list[str]:
        """Promises about bronze and silver that do not hold. There is no gold here."""
        return [each.promise for each in audit(self.settings) if each.promise in ("P1", "P2", "P4") and not each.holds]


@pytest.fixture
def store(kafka_broker: KafkaBroker, spark: SparkSession, tmp_path: Path) -> Store:
    return Store(spark, store_in(kafka_broker, tmp_path))


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_topic_that_is_made_anew_is_refused_and_once_accepted_is_read_whole(store: Store, partitions: int) -> None:
    store.send(range(30))
    store.land()
    store.refine()
    store.make_anew(partitions)
    store.send(range(20, 140))  # more than were read before: the offsets alone would not tell
    for _ in range(2):
        with pytest.raises(DataLossError, match=f"{store.settings.events_topic} was made anew"):
            store.land()
    said: list[str] = []
    (line,) = accept(store.spark, store.settings, "the broker's disk was lost", said.append)
    assert "made anew" in line
    assert last_noted(BRONZE_EVENTS, store.settings).note["accepted"]["reason"] == "the broker's disk was lost"
    store.land()
    store.refine()
    assert store.products() == list(range(140))  # of the ten that came twice, once
    assert query("SELECT count(*) FROM bronze.events", store.settings).fetchall() == [(150,)]
    assert store.broken() == []
    store.send(range(140, 150))
    store.land()
    store.refine()
    assert store.products() == list(range(150)) and store.broken() == []
    assert accept(store.spark, store.settings, "nothing is lost now", said.append) == []


def test_a_topic_that_is_made_anew_between_reading_and_landing_is_not_landed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While bronze runs. What the batch has may be of the new life, from the middle of it."""
    store.send(range(10))
    store.land()
    store.send(range(10, 20))
    count = bronze.job.count_by_partition

    def count_and_make_anew(rows: DataFrame, settings: Settings) -> Any:
        counted = count(rows, settings)
        store.make_anew(2)
        store.send(range(100, 200))
        return counted

    monkeypatch.setattr(bronze.job, "count_by_partition", count_and_make_anew)
    with pytest.raises(DataLossError, match="made anew while bronze read it"):
        store.land()
    assert query("SELECT count(*) FROM bronze.events", store.settings).fetchall() == [(10,)]


def test_records_that_expired_unread_are_refused_and_once_given_up_are_counted(store: Store) -> None:
    store.send(range(10))
    store.land()
    store.send(range(10, 60))
    store.expire()
    store.send(range(60, 70))
    with pytest.raises(DataLossError, match="expired unread"):
        store.land()
    assert len(accept(store.spark, store.settings, "they were of a test", print)) == 2
    store.land()
    store.refine()
    assert store.products() == [*range(10), *range(60, 70)] and store.broken() == []
    (landed,) = (each for each in audit(store.settings) if each.promise == "P1")
    assert landed.counts["records_given_up"] == 50


def test_what_a_topic_is_compacted_of_is_no_loss(store: Store) -> None:
    """Nor is a topic without a record, or one that its owner keeps by key."""
    store.land()
    store.configure(**{"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "100"})
    store.send(range(5))
    store.send(range(5))
    time.sleep(0.3)  # a segment is closed by the next record after its time
    store.send(range(5, 6))
    store.land()
    store.refine()
    assert store.products() == list(range(6)) and store.broken() == []
    assert any("cleanup.policy=compact" in line for line in topic_differences(store.settings))


def test_a_producers_clock_moves_nothing_of_ours(store: Store) -> None:
    """The cases of a topic with message.timestamp.type=CreateTime."""
    ensure_topics(store.settings)
    store.configure(**{"message.timestamp.type": "CreateTime"})
    assert any("not the broker but its producers" in line for line in topic_differences(store.settings))
    now = datetime.now(UTC)
    ahead = now + timedelta(minutes=50)
    store.send(range(1), at=datetime.fromtimestamp(0.001, UTC), event_at=lambda _: "2019-10-05 10:00:00 UTC")
    store.send(range(1, 2), at=ahead, event_at=lambda _: f"{ahead:%Y-%m-%d %H:%M:%S} UTC")
    store.land()
    store.refine()
    store.send(range(2, 62), event_at=lambda _: f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
    store.land()
    store.refine()
    assert query("SELECT sum(late)::INT FROM silver.quality_log", store.settings).fetchall() == [(0,)]
    assert store.products() == [0, *range(2, 62)]
    assert query("SELECT list_sort(reasons) FROM silver.quarantine", store.settings).fetchall() == [
        (["event_time_in_future"],)
    ]


def test_a_landing_that_has_read_nothing_takes_a_topic_of_any_life(store: Store) -> None:
    assert Landing(store.spark, store.settings).shift == {}
    store.make_anew(2)
    store.send(range(3))
    store.land()
    store.refine()
    assert store.products() == [0, 1, 2]
    assert last_noted(SILVER_EVENTS, store.settings).note["bronze_version"] > 0
