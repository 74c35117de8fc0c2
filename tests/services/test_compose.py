"""Services of docker-compose.yml by their own command lines, against real programs; see compose_natively.py."""

from __future__ import annotations

import json
import secrets
import time
import urllib.error
import urllib.request
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    NewTopic,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from lakehouse.settings import Settings
from lakehouse.tables import PUBLISHED
from operate.env_file import SECRETS, env_lines
from tests.compose import values_of
from tests.services.compose_natively import Natively, natively

VALUES = values_of(env_lines(secrets.token_urlsafe))


def network() -> tuple[int, int]:
    return 16 + secrets.randbelow(200), secrets.randbelow(256)


def connect(services: Natively, role: str, database: str, secret: str) -> psycopg.Connection:
    where = f"host={services.addresses['postgres']} dbname={database} user={role} password={VALUES[secret]}"
    return psycopg.connect(where, autocommit=True)


def assert_no_secret_is_seen(services: Natively) -> None:
    seen = services.seen()
    assert "kafka.Kafka" in seen and "started" in seen.lower()
    assert [name for name in SECRETS if VALUES[name] in seen] == []


def as_user(services: Natively, user: str, secret: str) -> dict[str, str]:
    login = {"sasl.username": user, "sasl.password": VALUES[secret], "sasl.mechanism": "SCRAM-SHA-512"}
    where = f"{services.addresses['kafka']}:9092"
    return {"bootstrap.servers": where, "security.protocol": "SASL_PLAINTEXT", "log_level": "0"} | login


def sent(client: dict[str, str], topic: str) -> KafkaError | None:
    """What Kafka says to a record of this client."""
    answers: list[KafkaError | None] = []
    producer = Producer(client | {"message.timeout.ms": "20000"})
    producer.produce(topic, b"{}", b"1", on_delivery=lambda error, _: answers.append(error))
    assert producer.flush(30) == 0
    return answers[0]


def assert_connect_may_write_events_alone(services: Natively) -> None:
    connect = as_user(services, "connect", "STOREFRONT_KAFKA_CONNECT_PASSWORD")
    for topic in ("store-events", "store-events-unreadable"):
        assert sent(connect, topic) is None
    for table in PUBLISHED:
        refused = sent(connect, table.topic(Settings()))
        assert refused is not None and refused.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED, table.name
    assert sent(as_user(services, "lakehouse", "STOREFRONT_KAFKA_PASSWORD"), "product-sales") is None

    reader = Consumer(connect | {"group.id": "lakehouse-connect"})
    reader.assign([TopicPartition("store-events", 0, 0)])
    (answer,) = reader.consume(1, timeout=20)
    sales = reader.list_topics("product-sales", timeout=20).topics["product-sales"]
    for error in (answer.error(), sales.error):
        assert error is not None and error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED
    reader.close()

    admin = AdminClient(connect)
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    attempts = (
        admin.alter_user_scram_credentials([UserScramCredentialUpsertion("lakehouse", info, b"mine now")]),
        admin.create_topics([NewTopic("my-own", 1)]),
        admin.delete_topics(["store-events"]),
    )
    for attempt in attempts:
        (done,) = attempt.values()
        with pytest.raises(KafkaException) as denied:
            done.result(20)
        assert "AUTHORIZATION_FAILED" in denied.value.args[0].name()


def test_what_needs_no_spark_is_well_by_its_own_health_checks(tmp_path: Path) -> None:
    """Half a minute: both start from nothing, and health checks are processes."""
    with natively(tmp_path, VALUES, network()) as services:
        services.up(["kafka", "topics", "postgres", "sink", "page"])
        page = f"http://{services.addresses['page']}:8050/state"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(page, timeout=10)
        who = {"Authorization": f"Bearer {VALUES['STOREFRONT_PAGE_TOKEN']}"}
        assert "is_well" in json.load(urllib.request.urlopen(urllib.request.Request(page, headers=who), timeout=10))
        assert_no_secret_is_seen(services)

        with connect(services, "bi", "storefront", "STOREFRONT_BI_PASSWORD") as reader:
            assert reader.execute("SELECT count(*) FROM gold.product_sales").fetchone() == (0,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute("DELETE FROM gold.product_sales")
        for role, secret in (("registry", "STOREFRONT_REGISTRY_PASSWORD"), ("mlflow", "STOREFRONT_MLFLOW_DB_PASSWORD")):
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                connect(services, role, "storefront", secret)

        assert_connect_may_write_events_alone(services)
        # A check that finds nothing wrong with what is gone would be none.
        for name in ("kafka", "page"):
            services.processes[name].kill()
            services.processes[name].wait()
            assert not services.is_well(name)


def run_a_connector(services: Natively, folder: Path) -> None:
    """Kafka's own for lines of a file: to where Connect may write, and to where it may not."""
    (folder / "lines").write_text("1\n")
    config = {
        "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
        "file": str(folder / "lines"),
        "value.converter": "org.apache.kafka.connect.storage.StringConverter",
        "exactly.once.support": "required",
    }
    for topic in ("store-events-unreadable", "product-sales"):
        file = folder / f"{topic}.json"
        file.write_text(json.dumps({"name": topic, "config": config | {"topic": topic}}))
    said = services.run("operator", "lakehouse", "connect", "apply", str(folder / "store-events-unreadable.json"))
    assert "created, running" in said
    with pytest.raises(AssertionError, match=r"product-sales: task 0 failed|Traceback"):
        services.run("operator", "lakehouse", "connect", "apply", str(folder / "product-sales.json"))
        end_s = time.monotonic() + 60
        while time.monotonic() < end_s:  # it runs before it has sent anything
            services.run("operator", "lakehouse", "connect", "status")
            time.sleep(0.5)
    assert "TopicAuthorizationException" in services.log("connect")


@pytest.mark.compose
def test_the_whole_file_brings_a_sale_to_the_store(tmp_path: Path) -> None:
    """All but File Pulse, which cannot be had from a registry; three to four minutes, with 20 JVMs."""
    first = ["kafka", "topics", "connect", "postgres", "registry", "mlflow", "sink", "page"]
    lake = ["namenode", "datanode-1", "datanode-2", "spark-master", "spark-worker-1", "spark-worker-2"]
    with natively(tmp_path, VALUES, network()) as services:
        services.up([*first, *lake, "bronze", "silver", "gold", "scoring"], timeout_s=1200)
        run_a_connector(services, tmp_path)
        services.run("operator", "lakehouse", "ingest", "produce", "--rate", "200", "--seconds", "10")
        end_s = time.monotonic() + 600
        with connect(services, "bi", "storefront", "STOREFRONT_BI_PASSWORD") as reader:
            while not (reader.execute("SELECT count(*) FROM gold.product_sales").fetchone() or (0,))[0]:
                assert time.monotonic() < end_s, services.log("gold")
                time.sleep(0.5)
        assert_no_secret_is_seen(services)
        services.processes["gold"].kill()
        while services.is_well("gold"):
            assert time.monotonic() < end_s, "Spark's master still has a job whose driver is gone"
            time.sleep(0.5)
