"""A Kafka that wants TLS and a login: every kind of client of ours gets in, and the password is seen nowhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from deltalake import DeltaTable
from pydantic import SecretStr

from ingest.committed import committed_records
from ingest.live_producer import LiveProducer
from ingest.producer import EventProducer
from lakehouse.errors import ServiceError
from lakehouse.offsets import held_offsets
from lakehouse.settings import Settings
from lakehouse.tables import BRONZE_EVENTS
from operate.services.topics import ensure_topics
from tests.services.secure_kafka import SecureKafka, settings_for

USER, PASSWORD = "secured", 'it"s a \\ secret; 4711'
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def settings(secure_kafka: SecureKafka, tmp_path: Path) -> Settings:
    secure_kafka.add_user(USER, PASSWORD)
    topics = {"events_topic": "secured", "unreadable_topic": "secured-unreadable", "gold_topic_prefix": "secured-"}
    few = {"master": "local[2]", "driver_memory_mb": 1024}
    return settings_for(secure_kafka, tmp_path / "home", USER, PASSWORD, **topics, **few)


def test_all_clients_log_in_and_the_password_is_seen_nowhere(settings: Settings, tmp_path: Path) -> None:
    ensure_topics(settings)
    with_transactions = EventProducer(settings, transactional_id="secure")
    with_transactions.client.init_transactions(20)
    with_transactions.client.begin_transaction()
    with_transactions.send(settings.events_topic, b"1", b"{}")
    with_transactions.client.commit_transaction(20)
    live = LiveProducer(settings)
    live.send(settings.events_topic, b"2", b"{}")
    live.flush()
    live.close()
    records = list(committed_records(settings, settings.events_topic, settings.topic_partitions))
    assert {record.key() for record in records} == {b"1", b"2"}
    assert sum(held_offsets(settings).end[settings.events_topic].values()) == 3  # one of them ends the transaction

    said, seen = _bronze_once(settings, tmp_path / "job.log")
    assert DeltaTable(BRONZE_EVENTS.path(settings)).to_pyarrow_table().num_rows == 2
    assert "4711" not in said
    assert seen and "4711" not in "\n".join(seen)


def test_a_wrong_password_is_said_and_no_password_with_it(settings: Settings) -> None:
    wrong = settings.model_copy(update={"kafka_password": SecretStr("wrong 0815")})
    clients = (EventProducer, LiveProducer, ensure_topics)
    for client in clients:
        with pytest.raises(ServiceError, match="LAKEHOUSE_KAFKA_USER, LAKEHOUSE_KAFKA_PASSWORD or") as caught:
            client(wrong, timeout_s=3)  # type: ignore[operator]
        assert "0815" not in str(caught.value)


def _bronze_once(settings: Settings, log: Path) -> tuple[str, list[str]]:
    """Runs the job. Out: all that it said, and the command lines that were seen of it."""
    command = [sys.executable, str(ROOT / "bronze" / "job.py"), "--once"]
    environment = os.environ | settings.as_environment() | {"PYTHONPATH": str(ROOT)}
    seen: set[str] = set()
    with log.open("wb") as output:
        job = subprocess.Popen(command, env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        while True:
            try:
                code = job.wait(0.5)
                break
            except subprocess.TimeoutExpired:
                family = [psutil.Process(job.pid), *psutil.Process(job.pid).children(recursive=True)]
                seen |= {" ".join(each.cmdline()) for each in family if each.status() != psutil.STATUS_ZOMBIE}
    said = log.read_text(errors="replace")
    assert code == 0, said
    return said, sorted(seen)
