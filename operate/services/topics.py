"""The topics that the lakehouse needs."""

from __future__ import annotations

from typing import Any

from kafka.admin import ConfigResource, KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError

from lakehouse.errors import ServiceError
from lakehouse.kafka_access import for_kafka_python, what_may_be_wrong
from lakehouse.settings import Settings
from lakehouse.tables import PUBLISHED
from operate.services.kafka_properties import DAY_MS, MAX_BATCH_BYTES, retention_ms, segment_ms


def topic_configs(settings: Settings) -> dict[str, dict[str, str]]:
    """What each topic must be like, by name.

    Events are stamped by the broker, since freshness is counted from there and a producer's clock may be wrong. Gold's
    topics keep the newest record of each key; compaction waits a minute, so that a reader a little behind sees each
    revision.
    """
    events = {
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(MAX_BATCH_BYTES),
        "retention.ms": str(retention_ms(settings)),
        "segment.ms": str(segment_ms(settings)),
        "cleanup.policy": "delete",
    }
    gold = {
        "cleanup.policy": "compact",
        "min.compaction.lag.ms": "60000",
        "max.compaction.lag.ms": str(DAY_MS),
        "min.cleanable.dirty.ratio": "0.3",
        "segment.ms": "3600000",
        "segment.bytes": str(32 * 1024 * 1024),
        "delete.retention.ms": str(7 * DAY_MS),  # how long a reader may be away and still see that a key is gone
    }
    events_topics = {settings.events_topic: events, settings.unreadable_topic: dict(events)}
    return events_topics | {table.topic(settings): dict(gold) for table in PUBLISHED}


def ensure_topics(settings: Settings, timeout_s: float = 15) -> list[str]:
    """Make the topics that are missing. A topic that is there is left as it is. Returns what differs, a line each.

    :raises ServiceError: no broker there, or it refuses.
    """
    wait_ms = int(timeout_s * 1000)
    try:
        admin = KafkaAdminClient(
            **for_kafka_python(settings),
            request_timeout_ms=wait_ms,
            bootstrap_timeout_ms=wait_ms,
            client_id="lakehouse",
        )
    except (KafkaError, OSError, ValueError) as error:
        raise _unreachable(settings, error) from error
    try:
        return _ensure(admin, settings)
    except KafkaError as error:
        raise _unreachable(settings, error) from error
    finally:
        admin.close()


def _ensure(admin: KafkaAdminClient, settings: Settings) -> list[str]:
    wanted = topic_configs(settings)
    missing = sorted(wanted.keys() - set(admin.list_topics()))
    if missing:
        options = {name: {"num_partitions": settings.topic_partitions, "configs": wanted[name]} for name in missing}
        try:
            admin.create_topics(options, wait_for_metadata=True)
        except TopicAlreadyExistsError:  # another process made one in this moment
            return _ensure(admin, settings)
    there = [name for name in wanted if name not in missing]
    return [line for name in there for line in _differences(admin, name, wanted[name], settings.topic_partitions)]


def _differences(admin: KafkaAdminClient, name: str, wanted: dict[str, str], partitions: int) -> list[str]:
    (topic,) = admin.describe_topics([name])
    found: dict[str, Any] = admin.describe_configs([ConfigResource("topic", name)], config_filter="all")["topic"][name]
    lines = []
    count = len(topic["partitions"])
    if count != partitions:
        lines.append(f"Topic {name} has {count} partitions, the setting says {partitions}; it stays so.")
    for key, value in wanted.items():
        if found[key]["value"] != value:
            lines.append(f"Topic {name} has {key}={found[key]['value']}, not {value}; `kafka-configs` can change it.")
    return lines


def _unreachable(settings: Settings, error: Exception) -> ServiceError:
    return ServiceError(
        f"Kafka at {settings.kafka_bootstrap} does not do what was asked: {type(error).__name__}: {error}",
        "a broker that answers and lets us make topics",
        f"check {what_may_be_wrong(settings)}, or start the embedded broker with `lakehouse up`",
    )
