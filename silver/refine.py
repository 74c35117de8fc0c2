"""The step of the silver layer: bronze rows into events, duplicates and quarantine, each in exactly one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse import commits
from lakehouse.handover import Purchase, as_purchases, is_purchase, purchase_columns
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_DUPLICATES, SILVER_EVENTS, SILVER_QUARANTINE, Table
from lakehouse.values import frame_of_columns
from silver.events import read_records
from silver.rows import duplicate_rows, event_rows, is_event, quarantine_rows
from silver.seen import Event, SeenEvents

PLACE = ("topic", "partition", "offset")
Place = tuple[str, int, int]


@dataclass(frozen=True)
class Judged:
    """A batch, each record of which is known to be an event, a copy or refused. Nothing is written yet.

    :param records: bronze rows with `reasons` and `is_copy`, held in memory until `release`.
    :param by_partition: (topic, partition) -> records.
    :param purchases: the new ones, to hand on to gold.
    """

    records: DataFrame
    held: DataFrame
    by_partition: Counter[tuple[str, int]]
    events: list[Event]
    copies: int
    refused: int
    purchases: list[Purchase]

    def release(self) -> None:
        self.held.unpersist()


class Refinement:
    """Judges and writes batches; keeps the version of bronze.events up to which it has read, and the store clock.

    Making one takes back what a batch that died half-way left in the side tables: silver.events is written last and its
    notes say which versions of the others belong to it.
    """

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._spark, self._settings = spark, settings
        commits.create_tables(spark, (SILVER_DUPLICATES, SILVER_QUARANTINE, SILVER_EVENTS), settings)
        note = commits.last_note(spark, SILVER_EVENTS, settings)
        self.read_version: int = note.get("bronze_version", 0)
        self.clock_us: int | None = note.get("clock_us")
        self._beside = {
            table: int(note.get("beside", {}).get(table.name, 0)) for table in (SILVER_DUPLICATES, SILVER_QUARANTINE)
        }
        for table, version in self._beside.items():
            commits.restore(spark, table, settings, version)
            self._beside[table] = commits.current_version(spark, table, settings)
        self.version = commits.current_version(spark, SILVER_EVENTS, settings)
        self._seen = SeenEvents(spark, settings, self.clock_us)

    def judge(self, records: DataFrame) -> Judged:
        """In: bronze rows, none of which silver has. Reads the tables at most; writes nothing."""
        held = read_records(records, self._settings).persist()
        summary = _summary(held)
        places = list(zip(*(summary[name].to_pylist() for name in PLACE), strict=True))
        ids, times_us = summary["event_id"].to_pylist(), summary["event_at_us"].to_pylist()
        seen = self._seen.among([event for event in zip(ids, times_us, strict=True) if event[0] is not None])
        events: list[Event] = []
        copies: list[Place] = []
        for place, event_id, at_us in zip(places, ids, times_us, strict=True):
            if event_id is None:
                continue
            if event_id in seen:
                copies.append(place)
            else:
                seen.add(event_id)
                events.append((event_id, at_us))
        # The first of several copies is the event, and so the last to be written here.
        paid = {purchase.event_id: purchase for purchase in reversed(_purchases(summary))}
        return Judged(
            _with_is_copy(held, copies),
            held,
            Counter((topic, partition) for topic, partition, _ in places),
            events,
            len(copies),
            len(places) - len(events) - len(copies),
            [paid[event_id] for event_id, _ in events if event_id in paid],
        )

    def write(self, judged: Judged, bronze_version: int, processed_at: datetime) -> int:
        """Appends a judged batch, which ends with this version of bronze.events. Out: the version of silver.events."""
        if judged.copies:
            self._append_beside(SILVER_DUPLICATES, duplicate_rows(judged.records), bronze_version)
        if judged.refused:
            self._append_beside(SILVER_QUARANTINE, quarantine_rows(judged.records, processed_at), bronze_version)
        times_us = [at_us for _, at_us in judged.events] + ([] if self.clock_us is None else [self.clock_us])
        self.clock_us = max(times_us, default=None)
        note = {
            "bronze_version": bronze_version,
            "clock_us": self.clock_us,
            "beside": {table.name: version for table, version in self._beside.items()},
        }
        rows = event_rows(judged.records, processed_at).coalesce(1)
        self.version = commits.append(rows, SILVER_EVENTS, self._settings, note)
        self._seen.remember(judged.events)
        self.read_version = bronze_version
        return self.version

    def _append_beside(self, table: Table, rows: DataFrame, bronze_version: int) -> None:
        note = {"bronze_version": bronze_version}
        self._beside[table] = commits.append(rows.coalesce(1), table, self._settings, note)


def _summary(records: DataFrame) -> pa.Table:
    """What is decided about in the driver, a row per record in the order of their places: of copies in one partition
    the first is then the event, in whatever batches and order of files they come.
    """
    columns = records.select(
        *PLACE, *purchase_columns(), F.coalesce(is_event() & is_purchase(), F.lit(False)).alias("is_purchase")
    )
    return columns.toArrow().sort_by([(name, "ascending") for name in PLACE])


def _purchases(summary: pa.Table) -> list[Purchase]:
    return as_purchases(summary.filter(summary["is_purchase"]).select(Purchase._fields))


def _with_is_copy(records: DataFrame, copies: list[Place]) -> DataFrame:
    if not copies:
        return records.withColumn("is_copy", F.lit(False))
    topics, partitions, offsets = zip(*copies, strict=True)
    places = frame_of_columns(
        records.sparkSession,
        {
            "topic": (pa.string(), topics),
            "partition": (pa.int32(), partitions),
            "offset": (pa.int64(), offsets),
        },
    )
    marked = F.broadcast(places.withColumn("marked", F.lit(True)))
    return records.join(marked, list(PLACE), how="left").withColumn("is_copy", F.col("marked").isNotNull())
