"""Services of docker-compose.yml as processes of this machine: their own command lines, settings and health checks.

What a container has of its own a process is given in its place: an address in 127.0.0.0/8, on which it may use the
ports of the file, and folders instead of volumes. The programs are the same, from PyPI and Maven instead of an image.
"""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pyspark

from lakehouse.settings import Settings
from operate import jars, java
from operate.services import process
from operate.services.postgres import BIN as POSTGRES_BIN
from operate.services.postgres import STOP_SIGNAL, PostgresServer
from tests.compose import ROOT, Service, load, service
from tests.programs import free_ports
from tests.services.runs import BIN

_ANY = ("127.0.0.1", "0.0.0.0")


class Natively:
    """Started services, and those that have run. `processes` are by name.

    :param folder: of data and logs.
    :param values: the variables, as in `.env`.
    :param network: two numbers up to 255, of the addresses: such as another test run has not.
    """

    def __init__(self, folder: Path, values: Mapping[str, str], network: tuple[int, int]) -> None:
        self._folder, self._values, self._compose = folder, dict(values), load()
        names = list(self._compose["services"])
        self.addresses = {name: f"127.{network[0]}.{network[1]}.{number}" for number, name in enumerate(names, 1)}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._postgres = PostgresServer(Settings(home=folder / "postgres", _env_file=None))
        data_nodes = free_ports(4)
        self._data_nodes = {"datanode-1": data_nodes[:2], "datanode-2": data_nodes[2:]}
        self._found: dict[str, Service] = {}

    def up(self, names: Sequence[str], timeout_s: float = 240.0) -> None:
        """`docker compose up --wait NAMES`: each as soon as what it waits for is there, until all are well."""
        waiting, well, end_s = list(names), set[str](), time.monotonic() + timeout_s
        while waiting or not well >= set(names):
            for name in list(waiting):
                if self._may_start(name, names, well):
                    waiting.remove(name)
                    self.start(name)
            for name in self.processes.keys() - well:
                if self._has_come_up(name):
                    well.add(name)
            late = sorted(set(names) - well)
            assert time.monotonic() < end_s, f"not well in {timeout_s:.0f} s: {late}\n{self.log(late[0])[-3000:]}"
            time.sleep(2.0)  # a check is a process: asked without a pause they would take the time of what starts

    def start(self, name: str) -> None:
        found = self.service(name)
        if name == "postgres":
            self._start_postgres(found)
            return
        command = found.command or self._command_of_image(name)
        self.processes[name] = process.spawn(command, self._log(name), found.environment)

    def stop(self) -> None:
        for name in reversed(self.processes):
            if name == "postgres":
                self.processes[name].send_signal(STOP_SIGNAL)
            process.stop(self.processes[name], 30)

    def is_well(self, name: str) -> bool:
        """What the service's health check says."""
        found = self.service(name)
        done = subprocess.run(found.check, env=found.environment, cwd=self._folder, capture_output=True, check=False)
        return done.returncode == 0

    def run(self, name: str, *words: str) -> str:
        """`docker compose run --rm NAME WORDS`. Out: what it said.

        :raises AssertionError: it failed.
        """
        found = self.service(name)
        command, environment = list(words) or found.command, found.environment
        done = subprocess.run(command, env=environment, cwd=self._folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def service(self, name: str) -> Service:
        """As in the file, with what differs here put in."""
        if name not in self._found:
            self._found[name] = self._here(name)
        return self._found[name]

    def log(self, name: str) -> str:
        return self._log(name).read_text(errors="replace") if self._log(name).exists() else ""

    def seen(self) -> str:
        """All that a user of the machine can see of it: command lines with their children's, and all logs."""
        lines = []
        for each in self.processes.values():
            if each.poll() is None:
                family = [psutil.Process(each.pid), *psutil.Process(each.pid).children(recursive=True)]
                lines += [" ".join(one.cmdline()) for one in family if one.status() != psutil.STATUS_ZOMBIE]
        logs = [path.read_text(errors="replace") for path in self._folder.rglob("*.log")]
        return "\n".join([*lines, *logs])

    def _here(self, name: str) -> Service:
        # Values are put in last: a password may begin like an address that is to be replaced.
        found = service(name, {variable: f"<{variable}>" for variable in self._values}, self._compose)
        folders = {target: self._source(name, source) for target, source in found.folders.items()}
        folders["/var/lib/lakehouse"] = str(self._folder / name / "home")

        def here(text: str) -> str:
            for target, source in folders.items():
                text = re.sub(f"(?<![\\w/]){target}(?=/|$)", source, text)
            text = text.replace("/opt/lakehouse", str(ROOT))
            for any_ in _ANY:
                text = text.replace(any_, self.addresses[name])
            for other, address in self.addresses.items():
                text = re.sub(rf"(?<=[^/]//){other}\b|(?<=host=){other}\b|(?<![\w./-]){other}(?=:\d)", address, text)
            for variable, value in self._values.items():
                text = text.replace(f"<{variable}>", value)
            return text

        told = {
            key: self.addresses[text] if key.endswith("HOST") and text in self.addresses else here(text)
            for key, text in found.environment.items()
        }
        environment = self._environment_of_image(name) | told
        command = [_at_root(here(word)) for word in found.command]
        return Service(name, found.image, command, environment, [here(word) for word in found.check], folders)

    def _may_start(self, name: str, names: Sequence[str], well: set[str]) -> bool:
        awaited = self._compose["services"][name].get("depends_on", {})
        return all(
            other in (self.processes if how["condition"] == "service_started" else well)
            for other, how in awaited.items()
            if other in names
        )

    def _has_come_up(self, name: str) -> bool:
        """By its health check; what ends by itself, by how it has ended."""
        code = self.processes[name].poll()
        if not self.service(name).check:
            assert not code, self.log(name)
            return code == 0
        assert code is None, f"{name} has ended with code {code}\n{self.log(name)[-5000:]}"
        return self.is_well(name)

    def _environment_of_image(self, name: str) -> dict[str, str]:
        """What the image's own environment says, and what is so in any container."""
        kept = {key: os.environ[key] for key in ("HOME", "LANG", "TMPDIR") if key in os.environ}
        kept |= {"PATH": f"{BIN}:{POSTGRES_BIN}:{os.environ['PATH']}", "JAVA_HOME": str(java.java_home())}
        if name in ("kafka", "connect"):
            conf = "connect" if name == "connect" else "kafka"
            return kept | {"KAFKA_LIBS": str(jars.at_hand(conf))}
        own = {
            "PYTHONPATH": str(ROOT),
            "SPARK_HOME": str(Path(pyspark.__file__).parent),
            "HDFS_JARS": str(jars.at_hand("hdfs")),
            "HADOOP_CONF_DIR": str(ROOT / "deploy" / "hdfs"),
            "LAKEHOUSE_HOME": str(self._folder / name / "home"),
            "SPARK_LOG_FILE": str(self._folder / f"{name}-spark.log"),
            "SPARK_LOCAL_IP": self.addresses[name],
        }
        if name in self._data_nodes:
            # The NameNode knows a DataNode by the address that its connection comes from, here the same of both.
            data, ipc = map(str, self._data_nodes[name])
            own |= {"HDFS_BIND": "127.0.0.1", "HDFS_DATA_PORT": data, "HDFS_IPC_PORT": ipc}
            own |= {"HDFS_WEB": f"{self.addresses[name]}:9864"}
        if name == "namenode":
            own["HDFS_BIND"] = self.addresses[name]
        return kept | own

    def _source(self, name: str, source: str) -> str:
        if source.startswith("./"):
            return str(ROOT / source)
        folder = self._folder / name / source
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    def _command_of_image(self, name: str) -> list[str]:
        """Of an image that starts its program by itself: the registry's."""
        assert name == "registry"
        (archive,) = jars.at_hand("registry").glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(self._folder / name / "app", filter="data")
        return [f"{java.java_home()}/bin/java", "-Xmx256m", "-jar", f"{self._folder}/{name}/app/quarkus-run.jar"]

    def _start_postgres(self, found: Service) -> None:
        """The image makes the data and runs what is in /docker-entrypoint-initdb.d; so does this."""
        address = self.addresses["postgres"]
        self._postgres.prepare()
        listen = ["-c", f"listen_addresses={address}", "-c", "port=5432"]
        self.processes["postgres"] = process.spawn([*self._postgres.command(), *listen], self._log("postgres"))
        password = (self._postgres.folder / "lakehouse.pgpass").read_text().strip().rsplit(":", 1)[1]
        admin = {"PGHOST": address, "PGPASSWORD": password, "POSTGRES_USER": "lakehouse"}
        end_s = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(f"host={address} dbname=postgres user=lakehouse password={password}").close()
                break
            except psycopg.OperationalError:
                assert time.monotonic() < end_s, self.log("postgres")
                time.sleep(0.1)
        script = found.folders["/docker-entrypoint-initdb.d/roles.sh"]
        done = subprocess.run([script], env=found.environment | admin, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"


@contextmanager
def natively(folder: Path, values: Mapping[str, str], network: tuple[int, int]) -> Iterator[Natively]:
    found = Natively(folder, values, network)
    try:
        yield found
    finally:
        found.stop()


def _at_root(word: str) -> str:
    """A path below the working directory, as it is found from anywhere."""
    return str(ROOT / word) if not word.startswith("/") and (ROOT / word).is_file() else word
