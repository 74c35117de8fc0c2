"""The running cluster with its jobs and its input, and ways to wait while all goes on."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from lakehouse.errors import LakehouseError
from lakehouse.settings import Settings
from lakehouse.tables import BRONZE_EVENTS, GOLD_PRODUCT_SALES, SILVER_EVENTS, Table
from operate.lake import DeltaError, last_noted, open_table
from operate.supervisor import Say, tail
from tests.chaos.feed import Feed
from tests.chaos.stage import TooLateError
from tests.cluster.hdfs import Hdfs
from tests.cluster.roads import Lines
from tests.cluster.spark import Job, SparkCluster
from tests.cluster.watch import Watch
from tests.services.secure_kafka import SecureKafka

_LOOK_S = 1.0


@dataclass
class Stage:
    """:param jobs: the drivers that have to run, by layer; one that ends by itself ends the run.
    :param allowed: records that may have come by now.
    """

    hdfs: Hdfs
    kafka: SecureKafka
    spark: SparkCluster
    settings: Settings
    feed: Feed
    lines: Lines
    watch: Watch
    say: Say
    jobs: dict[str, Job] = field(default_factory=dict)
    allowed: int = 0

    def start(self, layers: Sequence[str]) -> None:
        self.jobs |= {layer: self.spark.submit(f"{layer}/job.py", self.settings) for layer in layers}

    def allow(self, share: float) -> None:
        """This share of the input may come now, on each road."""
        self.feed.allow(share)
        self.lines.allow(share)
        self.allowed = self.feed.allowed + self.lines.allowed

    def tend(self) -> None:
        self.feed.send_due()
        self.watch.look()
        for layer, job in self.jobs.items():
            assert job.is_there(), f"{layer}/job.py ended with {job.exit_code}:\n{tail(job.log, 40)}"
        time.sleep(0.02)

    def wait_for(self, is_so: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Looks about once a second. :raises TooLateError: it is not so in time."""
        end_s = time.monotonic() + timeout_s
        while not is_so():
            if time.monotonic() > end_s:
                raise TooLateError(f"{what}: not after {timeout_s:.0f} s; {self.where()}")
            looked_s = time.monotonic()
            while time.monotonic() < looked_s + _LOOK_S:
                self.tend()

    def version(self, table: Table) -> int:
        """-1 while the table is not there."""
        with suppress(LakehouseError, DeltaError, OSError):
            return open_table(table, self.settings).version()
        return -1

    def landed(self) -> int:
        """Rows of bronze.events."""
        with suppress(LakehouseError, DeltaError, OSError):
            return open_table(BRONZE_EVENTS, self.settings).count()
        return 0

    def read(self, table: Table, source: str) -> int:
        """Up to which version of its source a table has read, as its note says; -1 before the first."""
        with suppress(LakehouseError, DeltaError, OSError):
            return int(last_noted(table, self.settings).note.get(source, -1))
        return -1

    def where(self) -> str:
        """How far all is, in words."""
        versions = {table.name: self.version(table) for table in (BRONZE_EVENTS, SILVER_EVENTS, GOLD_PRODUCT_SALES)}
        listed = ", ".join(f"{name} version {version}" for name, version in versions.items())
        return f"{self.feed.acknowledged:,} records acknowledged, {self.landed():,} in bronze; {listed}"

    def drain(self, records: int, timeout_s: float) -> None:
        """Until all records are in bronze, and what they make in silver and gold; each job is then ended, once the
        one before it has, so that it takes in the last of it.
        """
        self.allow(1.0)
        self.wait_for(lambda: self.feed.is_done() and self.landed() >= records, "all is in bronze", timeout_s)
        self.end("bronze")
        self.wait_for(
            lambda: self.read(SILVER_EVENTS, "bronze_version") == self.version(BRONZE_EVENTS), "silver", timeout_s
        )
        self.end("silver", timeout_s)
        self.wait_for(
            lambda: self.read(GOLD_PRODUCT_SALES, "silver_version") == self.version(SILVER_EVENTS), "gold", timeout_s
        )
        self.end("gold", timeout_s)

    def end(self, layer: str, timeout_s: float = 180.0) -> None:
        """Asks a job to end, and sees it end well."""
        job = self.jobs.pop(layer)
        job.ask_to_end()
        self.wait_for(lambda: not job.is_there(), f"{layer}/job.py ends", timeout_s)
        assert job.exit_code == 0, f"{layer}/job.py ended with {job.exit_code}:\n{tail(job.log, 40)}"
        self.say(f"{layer}/job.py ended; {self.where()}")

    def kill_jobs(self) -> None:
        for job in self.jobs.values():
            job.kill()


def kill(victim: subprocess.Popen[bytes]) -> None:
    """`kill -9`."""
    victim.kill()
    victim.wait()
