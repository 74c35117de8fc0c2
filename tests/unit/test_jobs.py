"""How a job ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil

JOB = """
from lakehouse.jobs import in_session

def wait(_settings, stop):
    print("waits", flush=True)
    return not stop.wait(60)

raise SystemExit(in_session("job", (), None, wait))
"""
# Its parent, as spark-submit's JVM is.
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {JOB!r}])"


def test_a_job_that_waits_ends_with_the_spark_submit_that_started_it(tmp_path: Path) -> None:
    environment = os.environ | {"PYSPARK_GATEWAY_PORT": "1", "LAKEHOUSE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == b"waits\n"
        (job,) = psutil.Process(parent.pid).children()
        parent.kill()
        job.wait(20)


STARTS = """
from lakehouse.jobs import in_session

raise SystemExit(in_session("job", (), lambda *_: print("worked")))
"""


def test_a_job_that_is_stopped_while_spark_starts_does_not_wait_for_it(tmp_path: Path) -> None:
    environment = os.environ | {"LAKEHOUSE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", STARTS]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as job:
        assert job.stdout is not None and job.stderr is not None
        assert b"starting Spark" in job.stderr.readline()
        job.terminate()
        assert job.wait(60) == 0
        assert job.stdout.read() == b""
        assert b"stopped while Spark started" in job.stderr.read()
