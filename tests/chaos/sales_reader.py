"""A reader of the topic of sales as docs/consume.md describes it: it keeps the highest revision of each key."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pyarrow as pa
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from lakehouse.kafka_access import for_librdkafka
from lakehouse.settings import Settings

_TIMEOUT_S = 30.0


@dataclass
class Sales:
    """What the reader knows. :param contradictions: (key, revision) pairs that came with two contents."""

    by_key: dict[str, dict[str, Any]] = field(default_factory=dict)
    records: int = 0
    tombstones: int = 0
    contradictions: int = 0
    _contents: dict[tuple[str, int], bytes] = field(default_factory=dict)

    def take(self, key: bytes, value: bytes | None) -> None:
        """A record in the order of its partition; without a value the key is gone."""
        self.records += 1
        name = key.decode()
        if value is None:
            self.tombstones += 1
            self.by_key.pop(name, None)
            return
        row = json.loads(value)
        self.contradictions += self._contents.setdefault((name, row["revision"]), value) != value
        if name not in self.by_key or row["revision"] > self.by_key[name]["revision"]:
            self.by_key[name] = row

    def as_table(self) -> pa.Table:
        """Out: a row per key: key, units, revenue, revision."""
        rows = list(self.by_key.items())
        return pa.table(
            {
                "key": pa.array([key for key, _ in rows], pa.string()),
                "units": pa.array([row["units"] for _, row in rows], pa.int64()),
                "revenue": pa.array([Decimal(row["revenue"]) for _, row in rows], pa.decimal128(20, 2)),
                "revision": pa.array([row["revision"] for _, row in rows], pa.int64()),
            }
        )


def read_sales(records: Iterable[tuple[int, bytes, bytes | None]]) -> Sales:
    """In: records of the topic: partition, key, value."""
    sales = Sales()
    for _, key, value in records:
        sales.take(key, value)
    return sales


def topic_records(settings: Settings, topic: str) -> Iterator[tuple[int, bytes, bytes | None]]:
    """All committed records that the topic has now: partition, key, value; those of a partition in their order.

    :raises KafkaException: Kafka does not answer.
    """
    consumer = Consumer(
        {
            **for_librdkafka(settings),
            "group.id": "chaos",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
        }
    )
    try:
        open_ = set(consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, partition, 0) for partition in open_])
        while open_:
            record = consumer.poll(_TIMEOUT_S)
            if record is None:
                raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
            partition, error = int(record.partition() or 0), record.error()
            if error is None:
                yield partition, record.key() or b"", record.value()
            elif error.code() == KafkaError._PARTITION_EOF:
                open_.discard(partition)
            else:
                raise KafkaException(error)
    finally:
        consumer.close()
