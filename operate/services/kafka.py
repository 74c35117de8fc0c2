"""The embedded broker: Apache Kafka itself, one node that is broker and controller, all of it on 127.0.0.1."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from lakehouse.errors import ServiceError
from lakehouse.settings import Settings
from operate import jars, java
from operate.services import kafka_storage, ports, process
from operate.services.kafka_properties import server_properties

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
        self.log = settings.logs / "kafka.log"
        self.output = settings.logs / "kafka.out"  # what the JVM itself says, a crash for instance
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """host:port for clients.

        :raises ServiceError: never prepared.
        """
        found = re.search(r"^listeners=CLIENT://([^,]+),", kafka_storage.text_of(self.properties), re.M)
        if not found:
            raise ServiceError(f"No broker in {self.folder} yet.", "", "start it with `lakehouse up`")
        return found[1]

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
        self._write_properties(self.data, chosen)
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
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "socket.timeout.ms": 2000})
        try:
            cluster = admin.list_topics(timeout=2)
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

    def _write_properties(self, data: Path, chosen: dict[str, int]) -> None:
        text = server_properties(self.settings, data, chosen[CLIENTS], chosen[CONTROLLER])
        self.properties.write_text(text, encoding="utf-8")

    def _format(self, chosen: dict[str, int]) -> None:
        """Format beside the place and move there: a format that was killed half way is not taken for a whole one."""
        unfinished = self.folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._write_properties(unfinished, chosen)
        arguments = ("format", "-t", kafka_storage.new_cluster_id(), "--standalone", "-c", str(self.properties))
        command = self._java("-Xmx128m", "kafka.tools.StorageTool", *arguments)
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment(), check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise ServiceError(f"Kafka's storage cannot be made in {self.folder}: {said}", "", self._look())
        unfinished.rename(self.data)

    def _last_error(self) -> str:
        lines = (kafka_storage.text_of(self.log) + kafka_storage.text_of(self.output)).splitlines()
        return next((line for line in reversed(lines) if " ERROR " in line or " FATAL " in line), "no error in its log")

    def _look(self) -> str:
        return f"look into {self.log} and {self.output}"
