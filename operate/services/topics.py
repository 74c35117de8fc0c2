"""The topics that the lakehouse needs."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any

from kafka.admin import ConfigResource, KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError

from lakehouse.errors import ServiceError
from lakehouse.kafka_access import for_kafka_python, what_may_be_wrong
from lakehouse.settings import Settings
from lakehouse.tables import PUBLISHED
from operate.services.connect_rights import grant_connect
from operate.services.kafka_properties import DAY_MS, MAX_BATCH_BYTES, retention_ms, segment_ms

_NOT_STAMPED = ": not the broker but its producers say when a record came, so the time when bronze has it is taken"


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


def ensure_topics(settings: Settings, timeout_s: float = 15, connect_user: str = "") -> list[str]:
    """Make the topics that are missing. A topic that is there is left as it is. Returns what differs, a line each.

    :param connect_user: gets what Kafka Connect needs, and no more.
    :raises ServiceError: no broker there, or it refuses.
    """
    with _admin(settings, timeout_s) as admin:
        differences = _ensure(admin, settings)
        if connect_user:
            grant_connect(admin, connect_user, settings)
        return differences


def topic_differences(settings: Settings, timeout_s: float = 5) -> list[str]:
    """How the topics that are there differ from what they must be like, a line each.

    :raises ServiceError: no broker there, or it refuses.
    """
    with _admin(settings, timeout_s) as admin:
        return _all_differences(admin, settings, set(admin.list_topics()))


@contextmanager
def _admin(settings: Settings, timeout_s: float) -> Iterator[KafkaAdminClient]:
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
        yield admin
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
    return _all_differences(admin, settings, wanted.keys() - set(missing))


def _all_differences(admin: KafkaAdminClient, settings: Settings, there: AbstractSet[str]) -> list[str]:
    wanted = {name: config for name, config in topic_configs(settings).items() if name in there}
    partitions = settings.topic_partitions
    return [line for name, config in wanted.items() for line in _differences(admin, name, config, partitions)]


def _differences(admin: KafkaAdminClient, name: str, wanted: dict[str, str], partitions: int) -> list[str]:
    (topic,) = admin.describe_topics([name])
    found: dict[str, Any] = admin.describe_configs([ConfigResource("topic", name)], config_filter="all")["topic"][name]
    lines = []
    count = len(topic["partitions"])
    if count != partitions:
        lines.append(f"Topic {name} has {count} partitions, the setting says {partitions}; it stays so.")
    for key, value in wanted.items():
        if found[key]["value"] != value:
            meaning = _NOT_STAMPED if key == "message.timestamp.type" else ""
            has = f"Topic {name} has {key}={found[key]['value']}, not {value}"
            lines.append(f"{has}{meaning}; `kafka-configs` can change it.")
    return lines


def _unreachable(settings: Settings, error: Exception) -> ServiceError:
    return ServiceError(
        f"Kafka at {settings.kafka_bootstrap} does not do what was asked: {type(error).__name__}: {error}",
        "a broker that answers and lets us make topics",
        f"check {what_may_be_wrong(settings)}, or start the embedded broker with `lakehouse up`",
    )
