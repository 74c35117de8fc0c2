"""A real HDFS on this machine: a NameNode and DataNodes, started as docker-compose.yml starts them."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from types import TracebackType

import pyspark

from lakehouse.errors import ServiceError
from operate import healthy, jars, java
from operate.services import ports, process
from tests.programs import free_ports

_DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "hdfs"


class Hdfs:
    """On 127.0.0.1, without a login: the user who starts it may do all. Each block is on two of the DataNodes. Entering
    its block starts it; it is there after `wait_until_ready`.

    :param folder: of data and logs.
    """

    def __init__(self, folder: Path, data_nodes: int = 3) -> None:
        self._folder = folder
        rpc, web, *others = free_ports(2 + 3 * data_nodes)
        name_node = f"{ports.LOOPBACK}:{rpc}"
        self.url, self._web = f"hdfs://{name_node}", f"{ports.LOOPBACK}:{web}"
        self.client = {"HADOOP_CONF_DIR": str(_DEPLOY), "HDFS_NAMENODE": name_node}
        """The environment of its clients."""
        self._ports = {node: others[3 * node - 3 : 3 * node] for node in range(1, data_nodes + 1)}
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        """Of the DataNodes, by number."""

    def __enter__(self) -> Hdfs:
        self._folder.mkdir(parents=True)
        self._name_node = self._start("namenode", "namenode", HDFS_NAMENODE_WEB=self._web)
        for node in self._ports:
            self.start(node)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        everything = (*self.processes.values(), self._name_node)
        for each in everything:
            each.terminate()
        for each in everything:
            process.stop(each, 20)

    def start(self, node: int) -> None:
        """Starts a DataNode, also one that was killed."""
        data, ipc, web = self._ports[node]
        own = {"HDFS_DATA_PORT": str(data), "HDFS_IPC_PORT": str(ipc), "HDFS_WEB": f"{ports.LOOPBACK}:{web}"}
        self.processes[node] = self._start(f"datanode-{node}", "datanode", **own)

    def _start(self, name: str, kind: str, **own: str) -> subprocess.Popen[bytes]:
        where = {
            "HDFS_BIND": ports.LOOPBACK,
            "HDFS_DATA": str(self._folder / f"data-{name}"),
            "HDFS_JARS": str(jars.at_hand("hdfs")),
            "JAVA_HOME": str(java.java_home()),
            "SPARK_HOME": str(Path(pyspark.__file__).parent),
            "TMPDIR": str(self._folder),
        }
        command = [str(_DEPLOY / "start"), kind]
        return process.spawn(command, self._folder / f"{name}.log", os.environ | self.client | where | own)

    def wait_until_ready(self, timeout_s: float = 180.0) -> None:
        end_s = time.monotonic() + timeout_s
        while not self._is_ready():
            assert time.monotonic() < end_s, f"HDFS is not ready; see {self._folder}"
            time.sleep(0.2)

    def _is_ready(self) -> bool:
        """Are all DataNodes there, and may files be written?"""
        try:
            return healthy.hdfs(f"http://{self._web}") == len(self._ports)
        except ServiceError:
            return False
