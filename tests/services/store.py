"""Topics of a test's own in the real broker, and all that is in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Message

from ingest.committed import committed_records
from lakehouse.settings import Settings
from operate.services.kafka import KafkaBroker
from operate.services.topics import ensure_topics


@contextmanager
def running_broker(broker: KafkaBroker) -> Iterator[KafkaBroker]:
    """Started, and ready."""
    broker.start()
    try:
        broker.wait_until_ready()
        yield broker
    finally:
        broker.stop()


def own_name(tmp_path: Path) -> str:
    """A name that no other test of the run has: folders of two workers may be called the same."""
    return f"{tmp_path.parent.name}-{tmp_path.name}"


def store_in(broker: KafkaBroker, tmp_path: Path, topic_partitions: int = 2) -> Settings:
    """Settings with topics of this test's own, which are there."""
    name = own_name(tmp_path)
    settings = Settings(
        **broker.access,
        events_topic=f"events-{name}",
        unreadable_topic=f"unreadable-{name}",
        gold_topic_prefix=f"{name}-",
        topic_partitions=topic_partitions,
        home=tmp_path / "home",
    )
    ensure_topics(settings)
    return settings


def committed(settings: Settings, topic: str) -> list[Message]:
    """All records that a reader of committed records sees, partition by partition."""
    return list(committed_records(settings, topic, settings.topic_partitions))


def values(settings: Settings) -> Counter[bytes | None]:
    return Counter(message.value() for message in committed(settings, settings.events_topic))
