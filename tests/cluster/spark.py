"""A standalone cluster of Spark on this machine, and jobs on it as a user starts them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil

from lakehouse.settings import PREFIX, Settings
from operate.java import COMPILE_QUICKLY, INTERPRET_ROWS
from operate.services import ports, process
from tests.programs import free_ports
from tests.services.runs import BIN, ROOT

_REST_PORT = 6066  # of each master, unless it is told otherwise
_WORKER_CORES, _WORKER_MEMORY = "5", "4g"
_CONF = ROOT / "deploy" / "spark" / "cluster.conf"
# All live for minutes here: to compile their code well took more of two processors than to run it.
_QUICK_EXECUTORS = ("--conf", f"spark.executorEnv.JAVA_TOOL_OPTIONS={COMPILE_QUICKLY} -XX:+UseSerialGC")


class SparkCluster:
    """A master and workers on 127.0.0.1. Entering its block starts them; they are there after `wait_for_workers`.

    :param folder: of logs, and of what executors leave.
    :param hadoop: variables by which all of Spark finds HDFS.
    :param secret: by which master, workers and jobs know each other.
    """

    def __init__(self, folder: Path, hadoop: Mapping[str, str], secret: str, workers: int = 2) -> None:
        self._folder = folder
        rpc, self._ui, *others = free_ports(2 + 2 * workers)
        self.url = f"spark://{ports.LOOPBACK}:{rpc}"
        self._ports = {number: others[2 * number - 2 : 2 * number] for number in range(1, workers + 1)}
        outside = {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}
        # Code comes from this checkout, wherever the installed package points to.
        self.environment = {
            **outside,
            **hadoop,
            "SPARK_LOCAL_IP": ports.LOOPBACK,
            "PYTHONPATH": str(ROOT),
            "_SPARK_AUTH_SECRET": secret,
            # A driver insists on the property, and then takes what the variable has.
            "SPARK_SUBMIT_OPTS": "-Dspark.authenticate=true -Dspark.authenticate.secret=_SPARK_AUTH_SECRET",
            "SPARK_DAEMON_JAVA_OPTS": (
                "-Dspark.authenticate=true -Dspark.master.rest.enabled=false"
                " -Dspark.network.crypto.enabled=true -Dspark.network.crypto.authEngineVersion=2"
            ),
            "JAVA_TOOL_OPTIONS": f"{COMPILE_QUICKLY} {INTERPRET_ROWS}",
        }
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        """Of the workers, by number."""

    def __enter__(self) -> SparkCluster:
        self._folder.mkdir(parents=True)
        _, port = self.url.rsplit(":", 1)
        listen = ["--host", ports.LOOPBACK, "--port", port, "--webui-port", str(self._ui)]
        self._master = self._spawn("master", ["org.apache.spark.deploy.master.Master", *listen])
        for number in self._ports:
            self.start(number)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        everything = (*self.processes.values(), self._master)
        for each in everything:
            each.terminate()
        for each in everything:
            process.stop(each, 20)

    def start(self, number: int) -> None:
        """Starts a worker, also one that was killed."""
        port, ui = map(str, self._ports[number])
        listen = ["--host", ports.LOOPBACK, "--port", port, "--webui-port", ui]
        room = ["--cores", _WORKER_CORES, "--memory", _WORKER_MEMORY]
        room += ["--work-dir", str(self._folder / f"work-{number}")]
        command = ["org.apache.spark.deploy.worker.Worker", *listen, *room, self.url]
        self.processes[number] = self._spawn(f"worker-{number}", command)

    def wait_for_workers(self, count: int, timeout_s: float = 120.0) -> None:
        end_s = time.monotonic() + timeout_s
        while self.live_workers() != count:
            assert time.monotonic() < end_s, f"Spark has {self.live_workers()} workers; see {self._folder}"
            time.sleep(0.2)

    def live_workers(self) -> int:
        with suppress(OSError), urllib.request.urlopen(f"http://{ports.LOOPBACK}:{self._ui}/json/", timeout=10) as said:
            return int(json.load(said)["aliveworkers"])
        return 0

    def takes_jobs_by_rest(self) -> bool:
        """Is Spark's REST interface open, which knows no secret?"""
        with suppress(OSError), socket.create_connection((ports.LOOPBACK, _REST_PORT), timeout=5):
            return True
        return False

    def submit(self, script: str, settings: Settings, *arguments: str) -> Job:
        """`spark-submit SCRIPT`, as a user types it at the root of the project; settings come by environment."""
        how = ["--master", self.url, "--load-spark-defaults", "--properties-file", str(_CONF), *_QUICK_EXECUTORS]
        name = script.removesuffix(".py").replace("/", "-")
        log = self._folder / f"{name}.log"
        spark_log = {"SPARK_LOG_FILE": str(self._folder / f"{name}-spark.log")}
        environment = self.environment | settings.as_environment() | spark_log
        command = [str(BIN / "spark-submit"), *how, str(ROOT / script), *arguments]
        return Job(script, process.spawn(command, log, environment), log)

    def _spawn(self, name: str, words: list[str]) -> subprocess.Popen[bytes]:
        own = {"SPARK_DAEMON_MEMORY": "192m", "SPARK_LOG_FILE": str(self._folder / f"{name}-spark.log")}
        command = [str(BIN / "spark-class"), *words]
        return process.spawn(command, self._folder / f"{name}.log", self.environment | own)


class Job:
    """A driver on this machine: spark-submit's JVM, and below it the Python that does the work."""

    def __init__(self, script: str, submitted: subprocess.Popen[bytes], log: Path) -> None:
        self.script, self.log, self._process = script, log, submitted

    def is_there(self) -> bool:
        return self._process.poll() is None

    def ask_to_end(self) -> None:
        """By SIGTERM to its Python: it finishes its batch. The JVM would end at once, which loses nothing either."""
        for child in psutil.Process(self._process.pid).children():
            # spark-submit leaves a dead shell unburied, which has no command line.
            with suppress(psutil.NoSuchProcess):
                if any(word.endswith(self.script) for word in child.cmdline()):
                    child.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        process.stop(self._process, 20)

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()
