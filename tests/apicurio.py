"""A real schema registry, Apicurio, fetched when it is first needed. It keeps what it has when it is started again."""

from __future__ import annotations

import subprocess
import tarfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from operate import jars, java
from operate.services import ports, process


class ApicurioRegistry:
    """On 127.0.0.1, with the API that Confluent's clients speak at `url`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._process = folder, None
        self.log = folder / "registry.log"
        self._port = ports.free_port(set())
        self._other_port = ports.free_port({self._port})
        self.url = f"http://{ports.LOOPBACK}:{self._port}/apis/ccompat/v7"
        (archive,) = jars.at_hand("registry").glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(folder / "app", filter="data")

    _process: subprocess.Popen[bytes] | None

    def start(self) -> None:
        self.begin()
        self.wait_until_ready()

    def begin(self) -> None:
        """Starts it, and does not wait."""
        memory = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        app = self._folder / "app" / "quarkus-run.jar"
        where = {
            "QUARKUS_HTTP_HOST": ports.LOOPBACK,
            "QUARKUS_HTTP_PORT": str(self._port),
            # Else it listens on all interfaces.
            "QUARKUS_MANAGEMENT_HOST": ports.LOOPBACK,
            "QUARKUS_MANAGEMENT_PORT": str(self._other_port),
            "APICURIO_DATASOURCE_URL": f"jdbc:h2:file:{self._folder / 'data'}",
        }
        command = [str(java.java_home() / "bin" / "java"), *memory, "-jar", str(app)]
        self._process = process.spawn(command, self.log, where)

    def wait_until_ready(self) -> None:
        assert self._process
        end_s = time.monotonic() + 180
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < end_s, self.log.read_text(errors="replace")
            time.sleep(0.1)

    def stop(self) -> None:
        if self._process is not None:
            process.stop(self._process, 20)
            self._process = None

    def _answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/subjects", timeout=5):
            return True
        return False
