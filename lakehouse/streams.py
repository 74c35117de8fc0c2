"""Running a structured stream whose micro-batches go to a step, from a known position and until told to stop."""

from __future__ import annotations

import json
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from lakehouse import commits
from lakehouse.errors import TableError
from lakehouse.files import delete_folder, read_text
from lakehouse.settings import Settings
from lakehouse.tables import Table

_BATCH_BYTES = "16m"

Position = dict[str, Any]
Step = Callable[[DataFrame, Position], None]


class StoppedError(Exception):
    """A step was told to stop while it waited for something. Its batch is taken again at the next start."""


class _NowError(BaseException):
    """Not an Exception: libraries make errors of their own of those."""


class Stop:
    """Set by SIGINT or SIGTERM: the running micro-batch is finished, then the stream ends.

    A second Ctrl-C ends the program at once: it is a KeyboardInterrupt.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._nothing_begun = False

    def listen(self) -> Stop:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._hear)
        return self

    def _hear(self, *_: object) -> None:
        self.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._nothing_begun:
            raise _NowError

    @contextmanager
    def nothing_begun(self) -> Iterator[None]:
        """A block that a signal ends at once, by a StoppedError: there is nothing that would have to be finished.

        :raises StoppedError: also when it is set already.
        """
        self._nothing_begun = True
        try:
            if self.is_set():
                raise _NowError
            yield
        except _NowError:
            raise StoppedError("stopped before anything was begun") from None
        finally:
            self._nothing_begun = False

    def set(self) -> None:
        self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout_s: float) -> bool:
        return self._event.wait(timeout_s)


def table_stream(spark: SparkSession, table: Table, settings: Settings, after_version: int) -> DataFrame:
    """The rows that were appended to a table after a version, in the order of its commits.

    Delta refuses a version that is not there yet: see `follow_table`.
    """
    return (
        spark.readStream.format("delta")
        .option("startingVersion", after_version + 1)
        .option("maxBytesPerTrigger", _BATCH_BYTES)
        .option("skipChangeCommits", "true")
        .load(table.path(settings))
    )


def follow_table(
    name: str,
    table: Table,
    after_version: int,
    step: Step,
    spark: SparkSession,
    settings: Settings,
    stop: Stop,
    once: bool,
    through: Callable[[DataFrame], DataFrame] = lambda rows: rows,
    every_s: float = 0.0,
    is_enough: Callable[[], bool] = lambda: False,
) -> None:
    """Feeds a step with the commits of a table after a version, as `run` does.

    With `once` it ends at once when there are none; else it waits for the first, and for the table itself.

    :param through: what becomes of the stream of rows before the step gets it.

    :raises TableError: with `once`, when the table is not there.
    """
    while (newest := commits.current_version(spark, table, settings)) <= after_version:
        if once and newest < 0:
            raise TableError(f"{table.name} is not in {settings.lake_url} yet.", "", "run the job of its layer first")
        if once or stop.wait(settings.trigger_ms / 1000):
            return
    if not is_enough():
        source = through(table_stream(spark, table, settings, after_version))
        run(name, source, step, settings, stop, once, every_s, is_enough)


def last_whole_version(end: Position) -> int:
    """The last commit of which a batch of a `table_stream` has all files."""
    return int(end["reservoirVersion"]) - 1


def is_whole(end: Position) -> bool:
    """Does a batch of a `table_stream` end with the last file of a commit?"""
    return int(end["index"]) < 0


def run(
    name: str,
    source: DataFrame,
    step: Step,
    settings: Settings,
    stop: Stop,
    once: bool,
    every_s: float = 0.0,
    is_enough: Callable[[], bool] = lambda: False,
) -> None:
    """Feeds the micro-batches of a stream to a step until it is through (`once`) or stopped.

    :param every_s: above 0: of work that is done in rounds, which are so far apart at least.
    :param is_enough: asked before each batch but the first. The stream ends there when it says so.

    The step gets the batch and the position in the source after it, as Spark writes it into its log of offsets.
    The checkpoint serves this run alone: where to start is known from the notes of the tables (lakehouse/commits.py).

    :raises Exception: what the step raised, as it was, but for StoppedError.
    """
    folder = f"{settings.lake_url}/_checkpoints/{name}"
    delete_folder(source.sparkSession, folder)
    checkpoint = f"{folder}/{uuid.uuid4().hex}"
    busy, failures, enough, ending = threading.Lock(), [], threading.Event(), threading.Event()
    query: StreamingQuery | None = None

    def feed(batch: DataFrame, batch_id: int) -> None:
        began_s = time.monotonic()
        with busy:
            if not ending.is_set():
                try:
                    step(batch, _read_offsets(batch.sparkSession, f"{checkpoint}/offsets/{batch_id}"))
                except Exception as error:
                    failures.append(error)
                    raise
        # Not by a trigger: one that waits cannot be hurried.
        ending.wait(max(0.0, 0.0 if once else began_s + every_s - time.monotonic()))
        if is_enough():
            enough.set()
        # When this returns the next batch begins.
        while any(each.is_set() for each in (stop, enough, ending)) and (query is None or query.isActive):
            time.sleep(0.02)

    writer = source.writeStream.queryName(name).foreachBatch(feed).option("checkpointLocation", checkpoint)
    trigger_ms = max(settings.trigger_ms, round(every_s * 100))
    trigger = {"availableNow": True} if once else {"processingTime": f"{trigger_ms} milliseconds"}
    query = writer.trigger(**trigger).start()
    try:
        while not query.awaitTermination(0.2):  # type: ignore[arg-type]
            if stop.is_set() or enough.is_set():
                break
    except StreamingQueryException:
        if not failures:
            raise
        if not isinstance(failures[0], StoppedError):
            raise failures[0] from None
    finally:
        ending.set()
        with busy:  # What is begun is finished. Not held while the query is stopped, which waits for `feed` to return.
            pass
        if query.isActive:
            query.stop()
        delete_folder(source.sparkSession, folder)


def _read_offsets(spark: SparkSession, path: str) -> Position:
    """The end of a micro-batch, from Spark's log: a version line, a line of metadata, then a line for the source."""
    return dict(json.loads(read_text(spark, path).splitlines()[2]))
