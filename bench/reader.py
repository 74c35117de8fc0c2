"""Reads events and sales back from Kafka, each record with the time at which it came."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from bench.measure import Payments
from lakehouse.kafka_access import for_librdkafka
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_PRODUCT_SALES, Table


def consumer_from_the_start(settings: Settings, *topics: str) -> Consumer:
    """Of all partitions of these topics, each from its first record."""
    consumer = Consumer(for_librdkafka(settings) | {"group.id": "bench", "enable.auto.commit": False})
    known = consumer.list_topics(timeout=10).topics
    consumer.assign([TopicPartition(topic, partition, 0) for topic in topics for partition in known[topic].partitions])
    return consumer


class TopicReader:
    """Reads both topics from their beginning and tells what it reads to `payments`, and the events to `others` too."""

    def __init__(self, settings: Settings, payments: Payments, *others: Payments) -> None:
        self._payments, self._others, self._sales_topic = payments, others, GOLD_PRODUCT_SALES.topic(settings)
        self._consumer = consumer_from_the_start(settings, settings.events_topic, self._sales_topic)
        self.sent, self.first_at_s = 0, 0.0

    def read(self, timeout_s: float) -> None:
        """Takes in what has come. A record is not held back for the sake of others: it is timed as it comes."""
        record = self._consumer.poll(timeout_s)
        while record is not None:
            self._take(record, time.time())
            record = self._consumer.poll(0)

    def _take(self, record: Message, now_s: float) -> None:
        if record.error() is not None:
            raise KafkaException(record.error())
        value = record.value()
        if value is None:
            return
        if record.topic() == self._sales_topic:
            self._payments.shown(value, now_s)
            return
        kafka_at_s = record.timestamp()[1] / 1000
        self.first_at_s = self.first_at_s or kafka_at_s
        self.sent += 1
        for payments in (self._payments, *self._others):
            payments.paid(value, kafka_at_s)

    def close(self) -> None:
        self._consumer.close()


class TableReader:
    """Reads a table's topic and tells what it reads to `take`, and counts the events, both from the beginning.

    :param sent: events read so far. :param first_at_s: when Kafka had the first one, in seconds since 1970; 0 before.
    """

    def __init__(self, settings: Settings, table: Table, take: Callable[[Message, float], None]) -> None:
        self._take, self._topic = take, table.topic(settings)
        self._consumer = consumer_from_the_start(settings, settings.events_topic, self._topic)
        self.sent, self.first_at_s = 0, 0.0

    def read(self, timeout_s: float) -> None:
        """Takes in what has come, each record with the time at which it came."""
        record = self._consumer.poll(timeout_s)
        while record is not None:
            self._read(record, time.time())
            record = self._consumer.poll(0)

    def _read(self, record: Message, now_s: float) -> None:
        if record.error() is not None:
            raise KafkaException(record.error())
        if record.topic() == self._topic:
            self._take(record, now_s)
            return
        self.first_at_s = self.first_at_s or record.timestamp()[1] / 1000
        self.sent += 1

    def close(self) -> None:
        self._consumer.close()
