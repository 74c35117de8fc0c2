"""A real worker of Kafka Connect with the settings that we ship, its jars fetched when they are first needed."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from types import TracebackType

from pydantic import SecretStr

from lakehouse.errors import ServiceError
from lakehouse.settings import Settings
from operate import jars, java
from operate.connect_rest import ConnectRest
from operate.services import ports, process

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "connect"
USER, PASSWORD = "operator", "to the worker 2718"


class ConnectWorker:
    """On 127.0.0.1, for USER alone.

    :param kafka: settings that say where Kafka is and how to speak to it.
    :param folder: of logs and users.
    """

    def __init__(self, kafka: Settings, folder: Path, properties: Path = DEPLOY / "worker.properties") -> None:
        self.url = f"http://{ports.LOOPBACK}:{ports.free_port(set())}"
        self.log, self.input_folder = folder / "connect.log", folder / "input"
        self._folder, self._kafka, self._properties = folder, kafka, properties
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ConnectWorker:
        users = self._folder / "users"
        users.touch(mode=0o600)
        users.write_text(f"{USER}={PASSWORD}\n")
        self.input_folder.mkdir()
        memory = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        options = (
            f"-Dlog4j2.configurationFile={DEPLOY / 'log4j2.properties'}",
            f"-Djava.security.auth.login.config={DEPLOY / 'jaas.conf'}",
            f"-Dconnect.users.file={users}",
        )
        command = [str(java.java_home() / "bin" / "java"), "-cp", f"{jars.at_hand('connect')}/*", *memory, *options]
        main = "org.apache.kafka.connect.cli.ConnectDistributed"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LAKEHOUSE_")}
        environment |= {name: value for name, value in self._kafka.as_environment().items() if "_KAFKA_" in name}
        environment |= {"CONNECT_LISTENER": self.url, "LAKEHOUSE_INPUT_FOLDER": str(self.input_folder)}
        self.process = process.spawn([*command, main, str(self._properties)], self.log, environment)
        try:
            self._wait_until_ready(timeout_s=120)
        except BaseException:
            process.stop(self.process, 20)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process
        process.stop(self.process, 20)

    def settings(self, password: str = PASSWORD) -> Settings:
        """Those of the lakehouse, and how its operator gets in here."""
        login = {"connect_user": USER, "connect_password": SecretStr(password)}
        return self._kafka.model_copy(update={"connect_url": self.url} | login)

    def _wait_until_ready(self, timeout_s: float) -> None:
        assert self.process
        end_s = time.monotonic() + timeout_s
        while not self._is_ready():
            said = self.log.read_text(errors="replace")
            assert self.process.poll() is None and time.monotonic() < end_s, said[-5000:]
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        """Whether it has joined its group, and knows its connectors."""
        try:
            ConnectRest(self.settings(), patience_s=0).statuses()
        except ServiceError:
            return False
        return True
