"""What Kafka holds of the raw records."""

from __future__ import annotations

from dataclasses import dataclass

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from lakehouse.errors import ServiceError
from lakehouse.kafka_access import for_kafka_python, what_may_be_wrong
from lakehouse.settings import Settings

Offsets = dict[str, dict[str, int]]
"""topic -> partition (as text, as JSON has it) -> the next offset to read."""


@dataclass(frozen=True)
class Held:
    """What the broker holds: the first offset of each partition, and the one after the last."""

    first: Offsets
    end: Offsets


def held_offsets(settings: Settings) -> Held:
    """:raises ServiceError: Kafka does not answer, or a topic is not there."""
    try:
        return _held_offsets(settings)
    except KafkaError as error:
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
