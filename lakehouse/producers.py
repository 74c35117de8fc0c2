"""The Kafka producer of every part of the project, so that all partition and deliver alike."""

from __future__ import annotations

from typing import Any

from confluent_kafka import Producer

from lakehouse.errors import ServiceError
from lakehouse.kafka_access import for_librdkafka
from lakehouse.settings import Settings


def make_producer(settings: Settings, **extra: Any) -> Producer:
    """An idempotent producer: acknowledged by all replicas, in order, partitioned by murmur2 as Kafka's clients do."""
    return Producer(
        {
            **for_librdkafka(settings),
            "enable.idempotence": True,
            "acks": "all",
            # librdkafka's default is CRC32: the same key would be in two partitions.
            "partitioner": "murmur2_random",
            "message.max.bytes": 8 * 1_048_576,
            "log_level": 3,
            **extra,
        }
    )


def flush(producer: Producer, timeout_s: float) -> None:
    """:raises ServiceError: not all was delivered in time."""
    left = producer.flush(timeout_s)
    if left:
        raise ServiceError(
            f"Kafka took {timeout_s:.0f} s and {left} records are still not delivered.",
            "a broker that answers",
            "see whether Kafka runs; nothing is lost, the records are sent again after a restart",
        )
