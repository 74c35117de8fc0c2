"""Spark's Thrift server, asked as a JDBC client asks."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
from pyspark.sql import SparkSession

from lakehouse.settings import Settings
from operate import java
from tests.builders import event, records
from tests.flow.steps import Lake
from tests.services.runs import BIN
from tests.services.sockets import listening


def test_history_is_asked_over_jdbc_on_the_loopback_alone(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    lake = Lake(spark, settings)
    lake.land(records([event()]))
    lake.land_later(records([event(), event()]))
    with (tmp_path / "thrift.log").open("wb") as log:
        server = subprocess.Popen(
            [str(BIN / "lakehouse"), "thrift"],
            env=os.environ | {"LAKEHOUSE_HOME": str(settings.home), "LAKEHOUSE_DRIVER_MEMORY_MB": "1024"},
            cwd=tmp_path,
            stdout=log,
            stderr=log,
        )
    try:
        url = _url(tmp_path / "thrift.log", server)
        asked = ["SELECT count(*) FROM bronze.events", "SELECT count(*) FROM bronze.events VERSION AS OF 1"]
        command = [
            str(BIN / "beeline"),
            "-u",
            url,
            "--outputformat=csv2",
            *(word for sql in asked for word in ("-e", sql)),
        ]
        environment = os.environ | {"JAVA_HOME": str(java.java_home())}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
        assert re.findall(r"^\d+$", done.stdout, re.M) == ["3", "1"], done.stdout + done.stderr
        addresses = {address for child in _family(server.pid) for address in listening(child)}
        assert addresses and all(address.endswith("0100007F") for address in addresses), addresses
        assert not (tmp_path / "derby.log").exists()
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0, (tmp_path / "thrift.log").read_text()


def _url(log: Path, server: subprocess.Popen[bytes]) -> str:
    end_s = time.monotonic() + 600
    while not (found := re.search(r"jdbc:hive2://[\d.:]+", log.read_text())):
        assert server.poll() is None and time.monotonic() < end_s, log.read_text()
        time.sleep(0.1)
    return found[0]


def _family(pid: int) -> list[int]:
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
