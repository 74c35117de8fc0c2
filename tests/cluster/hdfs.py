"""A real HDFS on this machine: a NameNode and DataNodes, each a process of its own."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from xml.sax.saxutils import escape

import pyspark

from operate import jars, java
from operate.services import ports, process

_LOG4J = Path(__file__).resolve().parents[2] / "deploy" / "hdfs" / "log4j2.properties"
_NAME_NODE = "org.apache.hadoop.hdfs.server.namenode.NameNode"
_DATA_NODE = "org.apache.hadoop.hdfs.server.datanode.DataNode"
# The servers run with the client that pyspark brings, which has what both share, and log as Spark does.
_FROM_PYSPARK = (
    *("hadoop-client-api", "hadoop-client-runtime"),
    *("slf4j-api", "log4j-api", "log4j-core", "log4j-slf4j2-impl", "jcl-over-slf4j"),
)
COPIES = 2


class Hdfs:
    """On 127.0.0.1, without a login: the user who starts it may do all. Each block is on two of the DataNodes.

    :param folder: of data, logs and `conf`, the HADOOP_CONF_DIR of its clients.
    """

    def __init__(self, folder: Path, data_nodes: int = 3) -> None:
        self._folder, self.conf = folder, folder / "conf"
        rpc, http, *others = ports.free_ports(2 + 3 * data_nodes)
        self.url, self._http = f"hdfs://{ports.LOOPBACK}:{rpc}", f"{ports.LOOPBACK}:{http}"
        self._ports = {node: others[3 * node - 3 : 3 * node] for node in range(1, data_nodes + 1)}
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        """Of the DataNodes, by number."""

    def __enter__(self) -> Hdfs:
        self._configure()
        format_ = [*self._java(), _NAME_NODE, "-format", "-nonInteractive"]
        done = subprocess.run(format_, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        self._name_node = process.spawn([*self._java(), _NAME_NODE], self._folder / "namenode.log")
        for node in self._ports:
            self.start(node)
        self._wait_until_ready(timeout_s=120)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (*self.processes.values(), self._name_node):
            process.stop(each, 20)

    def start(self, node: int) -> None:
        """Starts a DataNode, also one that was killed."""
        names = ("dfs.datanode.address", "dfs.datanode.http.address", "dfs.datanode.ipc.address")
        own = {name: f"{ports.LOOPBACK}:{port}" for name, port in zip(names, self._ports[node], strict=True)}
        own["dfs.datanode.data.dir"] = (self._folder / f"data-{node}").as_uri()
        options = [word for name, value in own.items() for word in ("-D", f"{name}={value}")]
        log = self._folder / f"datanode-{node}.log"
        self.processes[node] = process.spawn([*self._java(), _DATA_NODE, *options], log)

    def _configure(self) -> None:
        self.conf.mkdir(parents=True)
        _write_xml(self.conf / "core-site.xml", {"fs.defaultFS": self.url})
        values = {
            "dfs.namenode.name.dir": (self._folder / "name").as_uri(),
            "dfs.namenode.http-address": self._http,
            "dfs.replication": str(COPIES),
        }
        _write_xml(self.conf / "hdfs-site.xml", values)

    def _java(self) -> list[str]:
        theirs = Path(pyspark.__file__).parent / "jars"
        found = [str(next(theirs.glob(f"{name}-[0-9]*.jar"))) for name in _FROM_PYSPARK]
        class_path = ":".join([str(self.conf), f"{jars.at_hand('hdfs')}/*", *found])
        small = ("-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        log = f"-Dlog4j2.configurationFile={_LOG4J}"
        return [str(java.java_home() / "bin" / "java"), *small, log, "-cp", class_path]

    def _wait_until_ready(self, timeout_s: float) -> None:
        end_s = time.monotonic() + timeout_s
        while not self._is_ready():
            assert time.monotonic() < end_s, f"HDFS is not ready; see {self._folder}"
            time.sleep(0.2)

    def _is_ready(self) -> bool:
        """Are all DataNodes there, and may files be written?"""
        beans = {}
        with suppress(OSError), urllib.request.urlopen(f"http://{self._http}/jmx", timeout=5) as said:
            beans = {bean["name"].rpartition("=")[2]: bean for bean in json.load(said)["beans"]}
        live = beans.get("FSNamesystemState", {}).get("NumLiveDataNodes")
        return live == len(self._ports) and beans["NameNodeInfo"]["Safemode"] == ""


def _write_xml(path: Path, values: dict[str, str]) -> None:
    listed = (f"<property><name>{name}</name><value>{escape(value)}</value></property>" for name, value in values.items())
    path.write_text("<configuration>\n" + "\n".join(listed) + "\n</configuration>\n", encoding="utf-8")
