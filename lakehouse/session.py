"""The one place that makes a SparkSession, and what makes small commits fast on it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from lakehouse.home import temporary_folder
from lakehouse.java_names import keep_java_names
from lakehouse.settings import Settings

_DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}

_SEMANTICS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    # Field names differ only by case: two unknown fields, not one.
    "spark.sql.caseSensitive": "true",
}

# docs/performance.md has the measurements behind these.
_SMALL_COMMITS = {
    "spark.sql.adaptive.enabled": "false",
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.databricks.delta.properties.defaults.checkpointInterval": "200",
    "spark.databricks.delta.schema.autoMerge.enabled": "false",
    # A commit without rows still has a note: how far its writer has read, or that a generation has begun.
    "spark.databricks.delta.skipRecordingEmptyCommits": "false",
    "spark.sql.streaming.minBatchesToRetain": "10",
    "spark.sql.streaming.stateStore.providerClass": (
        "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
    ),
    "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
    # Else each call of `F` looks for IPython, walks the stack and tells the JVM where it was called from.
    "spark.python.sql.dataFrameDebugging.enabled": "false",
    "spark.scheduler.mode": "FAIR",
    # The rules of sessions run in Python, in a process that gives way to all others: it may be slow to answer.
    "spark.python.authenticate.socketTimeout": "120s",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}

# Without Hadoop's native library its local file system starts a process (chmod, readlink) for each small thing.
# These do the same in the JVM. LocalLogStore is safe for one writing process only: see lakehouse/locks.py.
_LOCAL_FILES = {
    "spark.hadoop.fs.file.impl": "com.globalmentor.apache.hadoop.fs.BareLocalFileSystem",
    "spark.hadoop.fs.permissions.umask-mode": "077",  # Hadoop does not ask the process for its own
    "spark.delta.logStore.file.impl": "io.delta.storage.LocalLogStore",
    "spark.sql.streaming.checkpointFileManagerClass": (
        "org.apache.spark.sql.execution.streaming.checkpointing.FileSystemBasedCheckpointFileManager"
    ),
}


# Other accounts of this machine reach the driver's ports too. Spark makes the secret itself where it is alone.
_ALONE = {"spark.authenticate": "true", "spark.network.crypto.enabled": "true"}


def build_session(name: str, settings: Settings, extra: dict[str, str] | None = None) -> SparkSession:
    """The session of a job.

    A `--master` or memory given to spark-submit wins: they are fixed before this runs. `extra` adds to ours, and wins.
    """
    keep_java_names()
    builder = SparkSession.builder.appName(name)
    master = _submitted_master() or settings.master
    local = _LOCAL_FILES if is_local(settings.lake_url) else {}
    alone = _ALONE | {"spark.local.dir": tempfile.gettempdir()} if f"{master}[".startswith("local[") else {}
    for key, value in {**_DELTA, **_SEMANTICS, **_SMALL_COMMITS, **local, **alone, **(extra or {})}.items():
        builder = builder.config(key, value)
    if not _submitted_master():
        builder = builder.master(master).config("spark.driver.memory", f"{settings.driver_memory_mb}m")
    if master.startswith("local"):
        os.environ.setdefault(
            "PYSPARK_PYTHON", sys.executable
        )  # else the rules of sessions run on whatever `python3` is
        builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
        builder = builder.config("spark.sql.shuffle.partitions", "1")
    return builder.getOrCreate()


@contextmanager
def spark_session(name: str, settings: Settings, extra: dict[str, str] | None = None) -> Iterator[SparkSession]:
    """A session that ends with the block. What a local one shuffles and spills are events: they stay in the home."""
    with temporary_folder(settings.home):
        spark = build_session(name, settings, extra)
        try:
            yield spark
        finally:
            with suppress(Exception):
                spark.stop()


def is_local(url: str) -> bool:
    """Is this a folder of this machine?"""
    return "://" not in url or url.startswith("file:")


def _submitted_master() -> str:
    """Under spark-submit the JVM is there before Python, and has its master; else empty."""
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        return ""
    SparkContext._ensure_initialized()
    return str(SparkConf().get("spark.master", "local[*]"))
