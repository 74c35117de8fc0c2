"""A real broker for the whole test session. Import `kafka_broker` into a conftest or a test file to use it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lakehouse.settings import Settings
from operate.services.kafka import KafkaBroker


@pytest.fixture(scope="session")
def kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaBroker]:
    """Started, without topics. Tests share it: each uses topic names of its own."""
    settings = Settings(home=tmp_path_factory.mktemp("kafka-home"), topic_partitions=2, _env_file=None)
    broker = KafkaBroker(settings)
    broker.start()
    try:
        broker.wait_until_ready()
        yield broker
    finally:
        broker.stop()
