"""A cluster of Kafka as a store would run it: brokers trust each other by certificate, clients log in over TLS."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from types import TracebackType

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from lakehouse.settings import Settings
from operate import jars, java
from operate.services import ports, process
from operate.services.kafka_properties import MAX_BATCH_BYTES
from operate.services.kafka_storage import new_cluster_id
from tests.services.certificates import Authority

_LISTENERS = ("CLIENT", "BROKER", "CONTROLLER")


class SecureKafka:
    """Brokers that are controllers too. Clients reach them by SASL_SSL alone, with SCRAM-SHA-512.

    :param folder: of data, logs and certificates.
    """

    def __init__(self, folder: Path, brokers: int = 1) -> None:
        self._folder, self._authority = folder, Authority(folder / "certificates")
        self._cluster_id = new_cluster_id()
        taken: set[int] = set()
        self._ports: dict[int, dict[str, int]] = {}
        for node in range(1, brokers + 1):
            self._ports[node] = {}
            for listener in _LISTENERS:
                self._ports[node][listener] = ports.free_port(taken)
                taken.add(self._ports[node][listener])
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> SecureKafka:
        formats = [self._format(node) for node in self._ports]
        for each in formats:
            said, _ = each.communicate()
            assert each.returncode == 0, said
        for node in self._ports:
            self.start(node)
        self._admin = AdminClient(
            {
                "bootstrap.servers": self._addresses("BROKER"),
                "security.protocol": "SSL",
                "ssl.ca.location": str(self._authority.file),
                "ssl.certificate.location": str(self._pem(1)),
                "ssl.key.location": str(self._pem(1)),
                "log_level": 0,
            }
        )
        self.wait_until_ready()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # All at once: the last of a quorum waits for the others to take over, and they are gone.
        for each in self.processes.values():
            each.terminate()
        for each in self.processes.values():
            process.stop(each, 20)

    def start(self, node: int) -> None:
        command = [*java_of_kafka(f"-Dkafka.log.file={self._folder / f'kafka-{node}.log'}"), "kafka.Kafka"]
        log = self._folder / f"kafka-{node}.out"
        self.processes[node] = process.spawn([*command, str(self._properties(node))], log)

    def add_user(self, name: str, password: str) -> None:
        """Not by a command line, which everybody on the machine can read."""
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion(name, info, password.encode())
        for done in self._admin.alter_user_scram_credentials([change]).values():
            done.result(20)

    def settings(self, user: str, password: str) -> dict[str, object]:
        """What a client has to be told."""
        return {
            "kafka_bootstrap": self._addresses("CLIENT"),
            "kafka_security_protocol": "SASL_SSL",
            "kafka_user": user,
            "kafka_password": password,
            "kafka_ca_file": str(self._authority.file),
        }

    def wait_until_ready(self) -> None:
        """Until all brokers are there."""
        end_s = time.monotonic() + 180
        while True:
            try:
                if len(self._admin.list_topics(timeout=2).brokers) == len(self._ports):
                    return
            except KafkaException:
                pass
            assert time.monotonic() < end_s, f"Kafka is not ready; see {self._folder}"
            time.sleep(0.1)

    def _addresses(self, listener: str) -> str:
        return ",".join(f"127.0.0.1:{of[listener]}" for of in self._ports.values())

    def _pem(self, node: int) -> Path:
        return self._folder / "certificates" / f"broker-{node}.pem"

    def _properties(self, node: int) -> Path:
        return self._folder / f"server-{node}.properties"

    def _format(self, node: int) -> subprocess.Popen[str]:
        """Begins to format a broker's storage. Out: the process that does it."""
        copies = min(3, len(self._ports))
        listeners = ",".join(f"{name}://127.0.0.1:{port}" for name, port in self._ports[node].items())
        values = {
            "process.roles": "broker,controller",
            "node.id": node,
            "controller.quorum.voters": ",".join(
                f"{each}@127.0.0.1:{of['CONTROLLER']}" for each, of in self._ports.items()
            ),
            "listeners": listeners,
            "advertised.listeners": ",".join(part for part in listeners.split(",") if "CONTROLLER" not in part),
            "listener.security.protocol.map": "CLIENT:SASL_SSL,BROKER:SSL,CONTROLLER:SSL",
            "inter.broker.listener.name": "BROKER",
            "controller.listener.names": "CONTROLLER",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.client.scram-sha-512.sasl.jaas.config": (
                "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            ),
            "listener.name.broker.ssl.client.auth": "required",
            "listener.name.controller.ssl.client.auth": "required",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self._authority.issue(f"broker-{node}"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self._authority.file,
            "log.dirs": self._folder / f"data-{node}",
            "auto.create.topics.enable": "false",
            "default.replication.factor": copies,
            "min.insync.replicas": max(1, copies - 1),
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": max(1, copies - 1),
            "transaction.state.log.num.partitions": 4,
            "message.max.bytes": MAX_BATCH_BYTES,
            "replica.fetch.max.bytes": MAX_BATCH_BYTES,
            "group.initial.rebalance.delay.ms": 0,
            "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        }
        self._properties(node).write_text("".join(f"{name}={value}\n" for name, value in values.items()))
        format_ = ("kafka.tools.StorageTool", "format", "-t", self._cluster_id, "-c", str(self._properties(node)))
        return subprocess.Popen(
            [*java_of_kafka(), *format_], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )


def settings_for(kafka: SecureKafka, home: Path, user: str, password: str, **more: object) -> Settings:
    return Settings(home=home, topic_partitions=2, _env_file=None, **kafka.settings(user, password), **more)  # type: ignore[arg-type]


def java_of_kafka(*options: str) -> list[str]:
    """A command line up to the class to run."""
    small = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
    return [str(java.java_home() / "bin" / "java"), "-cp", jars.class_path("kafka"), *small, *options]
