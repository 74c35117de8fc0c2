"""The embedded broker: it survives kills, leaves no trace, listens on the loopback alone, and says what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, KafkaAdminClient
from kafka.errors import TopicAuthorizationFailedError
from pydantic import SecretStr

from lakehouse.errors import ServiceError
from lakehouse.kafka_access import for_kafka_python, for_librdkafka
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_PRODUCT_SALES
from operate.services import ports
from operate.services.kafka import KafkaBroker
from operate.services.kafka_storage import new_cluster_id
from operate.services.topics import ensure_topics
from tests.services.secure_kafka import java_of_kafka
from tests.services.sockets import kafka_describes_quorum, listening


def settings_in(home: Path, **changes: object) -> Settings:
    return Settings(home=home, topic_partitions=2, _env_file=None, **changes)  # type: ignore[arg-type]


def send(settings: Settings, topic: str, value: bytes) -> None:
    producer = KafkaProducer(**for_kafka_python(settings), max_request_size=16 << 20)
    try:
        producer.send(topic, value, partition=0).get(timeout=20)
    finally:
        producer.close()


def read(settings: Settings, topic: str) -> list[bytes]:
    """All values of partition 0."""
    place = TopicPartition(topic, 0)
    consumer = KafkaConsumer(**for_kafka_python(settings), max_partition_fetch_bytes=16 << 20)
    try:
        consumer.assign([place])
        consumer.seek_to_beginning(place)
        end = consumer.end_offsets([place])[place]
        values: list[bytes] = []
        while consumer.position(place) < end:
            values += [record.value for record in consumer.poll(timeout_ms=1000).get(place, [])]
        return values
    finally:
        consumer.close()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # gone before it was opened, or before it was read
        return False


def at(broker: KafkaBroker) -> Settings:
    """Of those who use it."""
    return broker.settings.model_copy(update=broker.access)


def _user(name: str, password: str) -> dict[str, str]:
    return {"sasl.username": name, "sasl.password": password}


@pytest.fixture(scope="module")
def formatted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a broker that has never run."""
    home = tmp_path_factory.mktemp("formatted")
    KafkaBroker(settings_in(home)).prepare()
    return home


@pytest.fixture
def home(formatted: Path, tmp_path: Path) -> Path:
    return shutil.copytree(formatted, tmp_path / "home")


def test_a_killed_broker_keeps_its_data_and_port_and_one_whose_port_is_taken_moves(home: Path) -> None:
    settings = settings_in(home)
    broker = KafkaBroker(settings)
    assert broker.start() == []
    broker.wait_until_ready()
    place = broker.bootstrap
    ensure_topics(at(broker))
    send(at(broker), settings.events_topic, b"kept")
    assert broker.process
    broker.process.kill()
    broker.process.wait()

    broker = KafkaBroker(settings)
    assert broker.start() == []
    try:
        broker.wait_until_ready()
        assert broker.bootstrap == place
        assert read(at(broker), settings.events_topic) == [b"kept"]
    finally:
        assert broker.process
        pid = broker.process.pid
        broker.stop()
    assert not is_alive(pid)
    assert ports.is_free(int(place.split(":")[1]))

    both = [int(text) for text in _numbers((broker.folder / "ports.json").read_text())]
    squatters = [socket.create_server((ports.LOOPBACK, port)) for port in both]
    try:
        notes = broker.start()
        broker.wait_until_ready()
        assert [note.split()[0] for note in notes] == ["kafka_port", "kafka_controller_port"]
        assert broker.bootstrap != place
        assert read(at(broker), settings.events_topic) == [b"kept"]
        send(at(broker), settings.events_topic, b"more")
    finally:
        broker.stop()
        for squatter in squatters:
            squatter.close()


def _numbers(text: str) -> list[str]:
    return ["".join(sign for sign in part if sign.isdigit()) for part in text.split(",")]


def test_a_port_that_was_asked_for_is_refused_when_taken(tmp_path: Path) -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as squatter:
        port = squatter.getsockname()[1]
        with pytest.raises(ServiceError, match=f"Port {port} .* is taken"):
            KafkaBroker(settings_in(tmp_path, kafka_port=port)).prepare()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_listens_on_the_loopback_only(kafka_broker: KafkaBroker) -> None:
    port = int(kafka_broker.bootstrap.split(":")[1])
    (pid,) = {each.pid for each in psutil.net_connections("tcp") if each.laddr.port == port and each.status == "LISTEN"}
    found = listening(pid or 0)
    assert found
    assert found <= {"0100007F", "0000000000000000FFFF00000100007F"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_ends_with_a_supervisor_that_is_killed(home: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from lakehouse.settings import Settings\n"
        "from operate.services.kafka import KafkaBroker\n"
        "broker = KafkaBroker(Settings(home=Path(sys.argv[1]), _env_file=None))\n"
        "broker.start(); broker.wait_until_ready(); print(broker.process.pid, flush=True); time.sleep(600)"
    )
    supervisor = subprocess.Popen([sys.executable, "-c", script, str(home)], stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout
    pid = int(supervisor.stdout.readline())
    os.kill(supervisor.pid, signal.SIGKILL)
    supervisor.wait()
    supervisor.stdout.close()
    end = time.monotonic() + 60
    while is_alive(pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert not is_alive(pid)


def test_topics_are_made_once_and_as_the_contract_says(kafka_broker: KafkaBroker) -> None:
    settings = at(kafka_broker)
    assert ensure_topics(settings) == []
    assert ensure_topics(settings) == []
    admin = KafkaAdminClient(**for_kafka_python(settings))
    try:
        names = [settings.events_topic, settings.unreadable_topic, GOLD_PRODUCT_SALES.topic(settings)]
        assert {len(topic["partitions"]) for topic in admin.describe_topics(names)} == {2}
        found = admin.describe_configs([ConfigResource("topic", name) for name in names], config_filter="all")["topic"]
    finally:
        admin.close()
    for name in names[:2]:
        assert found[name]["message.timestamp.type"]["value"] == "LogAppendTime"
        assert found[name]["retention.ms"]["value"] == str(settings.kafka_retention_s * 1000)
    assert found[GOLD_PRODUCT_SALES.topic(settings)]["cleanup.policy"]["value"] == "compact"
    (difference,) = [
        line
        for line in ensure_topics(settings.model_copy(update={"topic_partitions": 3}))
        if settings.events_topic + " " in line
    ]
    assert "has 2 partitions, the setting says 3" in difference


def test_accepts_large_records(kafka_broker: KafkaBroker) -> None:
    settings = at(kafka_broker)
    ensure_topics(settings)
    value = os.urandom(8 << 20)
    send(settings, settings.unreadable_topic, value)
    assert read(settings, settings.unreadable_topic) == [value]


STRANGERS: tuple[dict[str, str], ...] = (
    {},
    {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-512"} | _user("lakehouse", "guessed"),
    {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-512"} | _user("somebody", "else"),
    {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"} | _user("lakehouse", "guessed"),
    {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-256"} | _user("lakehouse", "guessed"),
)


@pytest.mark.parametrize("stranger", STRANGERS, ids=str)
@pytest.mark.parametrize("port", ["kafka_port", "kafka_controller_port"])
def test_only_the_owner_is_let_in(kafka_broker: KafkaBroker, stranger: dict[str, str], port: str) -> None:
    """At the controller's port too, where topics and passwords are kept."""
    known = json.loads((kafka_broker.folder / "ports.json").read_text())
    refused: list[KafkaError] = []
    place = {"bootstrap.servers": f"127.0.0.1:{known[port]}", "error_cb": refused.append, "log_level": 0}
    admin = AdminClient(place | stranger)
    with pytest.raises(KafkaException):
        admin.list_topics(timeout=2)
    admin.poll(0)
    if stranger:
        assert {error.code() for error in refused} & {KafkaError._AUTHENTICATION, KafkaError._UNSUPPORTED_FEATURE}


@pytest.mark.parametrize("port", ["kafka_port", "kafka_controller_port"])
def test_without_a_login_nothing_is_answered(kafka_broker: KafkaBroker, port: str) -> None:
    known = json.loads((kafka_broker.folder / "ports.json").read_text())
    assert kafka_describes_quorum(known[port]) == b""


def test_a_user_without_rights_reads_and_writes_nothing(kafka_broker: KafkaBroker) -> None:
    """Whom the owner lets in for one thing has nothing else."""
    ours = AdminClient(for_librdkafka(at(kafka_broker)))
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    for done in ours.alter_user_scram_credentials([UserScramCredentialUpsertion("guest", info, b"guest")]).values():
        done.result(20)
    settings = at(kafka_broker)
    ensure_topics(settings)
    guest = settings.model_copy(update={"kafka_user": "guest", "kafka_password": SecretStr("guest")})
    assert settings.events_topic not in AdminClient(for_librdkafka(guest)).list_topics(timeout=20).topics
    with pytest.raises(TopicAuthorizationFailedError):
        send(guest, settings.events_topic, b"forged")


def test_passwords_are_in_files_of_the_owner_alone(kafka_broker: KafkaBroker) -> None:
    password = (kafka_broker.folder / "password").read_text().strip()
    # It steps over the holes of Kafka's files, which are most of what they seem to hold.
    grep = ["grep", "-rlF", "-f", "-", str(kafka_broker.settings.home)]
    found = subprocess.run(grep, input=password, capture_output=True, text=True, check=True).stdout.splitlines()
    holding = set(map(Path, found))
    assert holding == {kafka_broker.folder / name for name in ("password", "client.properties", "server.properties")}
    assert {path.stat().st_mode & 0o777 for path in holding} == {0o600}
    assert not any(password in " ".join(each.cmdline()) for each in psutil.process_iter() if each.is_running())


def test_a_home_from_before_there_was_a_login_goes_on(home: Path) -> None:
    """Formatted without a user: nobody could log in."""
    broker = KafkaBroker(settings_in(home))
    broker.prepare()
    (broker.folder / "password").unlink()
    shutil.rmtree(broker.data)
    words = ("kafka.tools.StorageTool", "format", "-t", new_cluster_id(), "--standalone", "-c", str(broker.properties))
    subprocess.run([*java_of_kafka(), *words], check=True, capture_output=True)
    assert broker.start() == []
    try:
        broker.wait_until_ready()
        ensure_topics(at(broker))
        send(at(broker), broker.settings.events_topic, b"goes on")
    finally:
        broker.stop()


def test_no_broker_there_is_a_clear_error() -> None:
    port = ports.free_port(set())
    with pytest.raises(ServiceError, match=f"127.0.0.1:{port}") as caught:
        ensure_topics(Settings(_env_file=None, kafka_bootstrap=f"127.0.0.1:{port}"), timeout_s=2)
    assert "lakehouse up" in caught.value.next_step
