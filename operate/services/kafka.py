"""The embedded broker: Apache Kafka itself, one node that is broker and controller, all of it on 127.0.0.1.

It lets its owner in and nobody else: others have accounts on this machine too, and the loopback is theirs as well.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from pydantic import SecretStr

from lakehouse.errors import ServiceError
from lakehouse.kafka_access import for_librdkafka, jaas
from lakehouse.secret_file import secret_in, write_secret
from lakehouse.settings import Settings
from operate import jars, java
from operate.services import kafka_storage, ports, process
from operate.services.kafka_properties import USER, server_properties

LOG4J = Path(__file__).resolve().parents[2] / "deploy" / "kafka" / "log4j2.properties"
CLIENTS, CONTROLLER = "kafka_port", "kafka_controller_port"


class KafkaBroker:
    """A broker whose state is in `<home>/kafka`.

    A supervisor calls `prepare`, runs `command()` and asks `is_ready`; `start`, `wait_until_ready` and `stop` are for
    callers without one.
    """

    name = "kafka"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = settings.home / "kafka"
        self.data = self.folder / "data"
        self.properties = self.folder / "server.properties"
        self.login = self.folder / "client.properties"
        self.log = settings.logs / "kafka.log"
        self.output = settings.logs / "kafka.out"  # what the JVM itself says, a crash for instance
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def access(self) -> dict[str, Any]:
        """The settings of those who use it: its address and our login.

        :raises ServiceError: never prepared.
        """
        known = dict(line.split("=", 1) for line in kafka_storage.text_of(self.login).splitlines())
        if not known:
            raise ServiceError(f"No broker in {self.folder} yet.", "", "start it with `lakehouse up`")
        return {
            "kafka_bootstrap": known["bootstrap.servers"],
            "kafka_security_protocol": known["security.protocol"],
            "kafka_sasl_mechanism": known["sasl.mechanism"],
            "kafka_user": known["sasl.username"],
            "kafka_password": SecretStr(known["sasl.password"]),
        }

    @property
    def bootstrap(self) -> str:
        """host:port for clients.

        :raises ServiceError: never prepared.
        """
        return str(self.access["kafka_bootstrap"])

    def prepare(self) -> list[str]:
        """Settle the ports, write server.properties, format the storage once. Returns what the user should know.

        :raises ServiceError: another broker works on this folder, the asked port is taken, or formatting fails.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        kafka_storage.wait_for_predecessor(self.data, timeout_s=20)
        wanted = {CLIENTS: self.settings.kafka_port, CONTROLLER: 0}
        chosen, notes = ports.settle(self.folder / "ports.json", wanted)
        if not self.data.is_dir():
            self._format(chosen)
        elif not self._password.is_file():
            self._give_login(chosen)
        self._write_properties(self.data, chosen, secret_in(self._password))
        return notes

    def command(self) -> list[str]:
        """The broker's command line, for after `prepare`."""
        heap = self.settings.kafka_memory_mb
        memory = (f"-Xms{min(64, heap)}m", f"-Xmx{heap}m", "-XX:+ExitOnOutOfMemoryError")
        return self._java(*memory, "kafka.Kafka", str(self.properties))

    def environment(self) -> dict[str, str]:
        """The broker's environment: ours, without what would change its JVM."""
        return {name: value for name, value in os.environ.items() if name not in ("JAVA_TOOL_OPTIONS", "CLASSPATH")}

    def is_ready(self) -> bool:
        """Whether our broker, and not another on its port, answers and takes part in its cluster."""
        host, port = self.bootstrap.split(":")
        try:
            socket.create_connection((host, int(port)), timeout=0.5).close()
        except OSError:
            return False
        try:
            cluster = self._admin().list_topics(timeout=2)
        except KafkaException:
            return False
        return bool(cluster.brokers) and cluster.cluster_id == kafka_storage.cluster_id(self.data)

    def start(self) -> list[str]:
        """Prepare and start, without waiting. Returns what the user should know."""
        notes = self.prepare()
        self.process = process.spawn(self.command(), self.output, self.environment())
        return notes

    def wait_until_ready(self, timeout_s: float = 60) -> None:
        """Return once clients are served.

        :raises ServiceError: it died, or is not ready in time.
        """
        end = time.monotonic() + timeout_s
        while not self.is_ready():
            if self.process and self.process.poll() is not None:
                found = f"Kafka ended with code {self.process.returncode}: {self._last_error()}"
                raise ServiceError(found, "", self._look())
            if time.monotonic() > end:
                raise ServiceError(f"Kafka was not ready after {timeout_s:.0f} s.", "", self._look())
            time.sleep(0.1)

    def stop(self, timeout_s: float = 20) -> None:
        """Stop the clients first: they would wait for the broker."""
        if self.process:
            process.stop(self.process, timeout_s)
            self.process = None

    def _java(self, *arguments: str) -> list[str]:
        # C1 code and the serial collector keep an idle broker near 200 MB and out of the way of the other processes.
        options = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        options += [f"-Djava.io.tmpdir={tempfile.gettempdir()}"]
        log = str(self.log)
        options += [f"-Dlog4j2.configurationFile={LOG4J}", f"-Dkafka.log.file={log}"]
        options += ["-Dkafka.log.pattern=" + log.replace("%", "%%")]
        return [str(java.java_home() / "bin" / "java"), "-cp", jars.class_path("kafka"), *options, *arguments]

    @property
    def _password(self) -> Path:
        return self.folder / "password"

    def _admin(self) -> AdminClient:
        ours = self.settings.model_copy(update=self.access)
        return AdminClient(for_librdkafka(ours) | {"log_level": 0, "socket.timeout.ms": 2000})

    def _write_properties(
        self, data: Path, chosen: dict[str, int], password: str, mechanism: str = "SCRAM-SHA-512"
    ) -> None:
        """The broker's, and those by which its owner's clients reach it, whatever library they use."""
        text = server_properties(self.settings, data, chosen[CLIENTS], chosen[CONTROLLER], password, mechanism)
        write_secret(self.properties, text)
        login = {
            "bootstrap.servers": f"{ports.LOOPBACK}:{chosen[CLIENTS]}",
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": mechanism,
            "sasl.username": USER,  # these two for librdkafka, the last for Java
            "sasl.password": password,
            "sasl.jaas.config": jaas(mechanism, USER, password),
        }
        write_secret(self.login, "\n".join(f"{name}={value}" for name, value in login.items()))

    def _format(self, chosen: dict[str, int]) -> None:
        """Format beside the place and move there: a format that was killed half way is not taken for a whole one."""
        unfinished, arguments = self.folder / "data.new", self.folder / "format.arguments"
        shutil.rmtree(unfinished, ignore_errors=True)
        password = secret_in(self._password)
        self._write_properties(unfinished, chosen, password)
        user = f"SCRAM-SHA-512=[name={USER},password={password}]"
        words = ("format", "-t", kafka_storage.new_cluster_id(), "--standalone", "-c", self.properties)
        # In a file: command lines are read by everybody.
        write_secret(arguments, "\n".join(map(str, (*words, "--add-scram", user))))
        command = self._java("-Xmx128m", "kafka.tools.StorageTool", f"@{arguments}")
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=self.environment(), check=False)
        finally:
            arguments.unlink()
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise ServiceError(f"Kafka's storage cannot be made in {self.folder}: {said}", "", self._look())
        unfinished.rename(self.data)

    def _give_login(self, chosen: dict[str, int]) -> None:
        """Storage whose password nobody has, as that of a home from before there was one: Kafka runs for a moment with
        a password that its file says, and is told to keep it.
        """
        password = secrets.token_urlsafe(24)
        self._write_properties(self.data, chosen, password, "PLAIN")
        self.process = process.spawn(self.command(), self.output, self.environment())
        try:
            self.wait_until_ready()
            info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
            change = UserScramCredentialUpsertion(USER, info, password.encode())
            admin = self._admin()
            for done in admin.alter_user_scram_credentials([change]).values():
                done.result(20)
        except KafkaException as error:
            raise ServiceError(f"Kafka in {self.folder} takes no password: {error}", "", self._look()) from None
        finally:
            self.stop()
        write_secret(self._password, password)

    def _last_error(self) -> str:
        lines = (kafka_storage.text_of(self.log) + kafka_storage.text_of(self.output)).splitlines()
        return next((line for line in reversed(lines) if " ERROR " in line or " FATAL " in line), "no error in its log")

    def _look(self) -> str:
        return f"look into {self.log} and {self.output}"
