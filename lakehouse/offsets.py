"""What Kafka holds of the raw records."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from kafka import KafkaConsumer, TopicPartition
from kafka import errors as kafka_python

from lakehouse.errors import ServiceError
from lakehouse.kafka_access import for_kafka_python, for_librdkafka, what_may_be_wrong
from lakehouse.settings import Settings

Offsets = dict[str, dict[str, int]]
"""topic -> partition (as text, as JSON has it) -> the next offset to read."""


@dataclass(frozen=True)
class Held:
    """What the broker holds: the first offset of each partition, and the one after the last."""

    first: Offsets
    end: Offsets


def held_offsets(settings: Settings) -> Held:
    """:raises ServiceError: no Kafka is named, it does not answer, or a topic is not there."""
    if not settings.kafka_bootstrap:  # its client would look for one on this machine, for half a minute
        raise ServiceError("No Kafka is named.", "a broker at the setting kafka_bootstrap", "run `lakehouse up` once")
    try:
        return _held_offsets(settings)
    except kafka_python.KafkaError as error:
        raise ServiceError(
            f"Kafka at {settings.kafka_bootstrap!r} does not answer ({type(error).__name__}).",
            "a broker at the setting kafka_bootstrap",
            f"start it, or correct {what_may_be_wrong(settings)}",
        ) from error


def _held_offsets(settings: Settings) -> Held:
    consumer = KafkaConsumer(**for_kafka_python(settings), isolation_level="read_committed", enable_auto_commit=False)
    try:
        first: Offsets = {}
        end: Offsets = {}
        for topic in (settings.events_topic, settings.unreadable_topic):
            partitions = consumer.partitions_for_topic(topic)
            if not partitions:
                raise ServiceError(f"Kafka has no topic {topic!r}.", "", "create it, or run `lakehouse up` once")
            places = [TopicPartition(topic, partition) for partition in sorted(partitions)]
            first[topic] = {str(at.partition): offset for at, offset in consumer.beginning_offsets(places).items()}
            end[topic] = {str(at.partition): offset for at, offset in consumer.end_offsets(places).items()}
        return Held(first, end)
    finally:
        consumer.close()


class TopicIds:
    """What Kafka calls each life of the topics that bronze reads: a topic that is made anew has another id."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topics = TopicCollection([settings.events_topic, settings.unreadable_topic])
        self._admin = self._client()

    def _client(self) -> AdminClient:
        return AdminClient(for_librdkafka(self._settings) | {"log_level": 0})

    def now(self, timeout_s: float = 60.0) -> dict[str, str]:
        """topic -> id. Without a topic that is not there, and without ids that the broker does not give.

        :raises ServiceError: Kafka does not answer in that time.
        """
        end_s = time.monotonic() + timeout_s
        while True:
            try:
                described = self._admin.describe_topics(self._topics, request_timeout=5)
                return {topic: found for topic, future in described.items() if (found := _id_of(future))}
            except KafkaException as error:
                if time.monotonic() > end_s:
                    raise ServiceError(
                        f"Kafka at {self._settings.kafka_bootstrap!r} does not answer: {error.args[0].str()}",
                        "a broker at the setting kafka_bootstrap",
                        f"start it, or correct {what_may_be_wrong(self._settings)}",
                    ) from None
                # One that has gone on asking a broker that died as controller never hears of the next one.
                self._admin = self._client()


def _id_of(described: Future[Any]) -> str:
    try:
        topic_id = described.result().topic_id
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return ""
        raise
    is_given = topic_id.get_most_significant_bits() or topic_id.get_least_significant_bits()
    return str(topic_id) if is_given else ""
