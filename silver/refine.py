"""The step of the silver layer: bronze rows into events, duplicates and quarantine, each in exactly one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse import commits
from lakehouse.handover import Purchase, is_purchase, purchase_columns
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_DUPLICATES, SILVER_EVENTS, SILVER_QUARANTINE, Table
from silver.events import read_records
from silver.rows import duplicate_rows, event_rows, is_event, quarantine_rows
from silver.seen import Event, SeenEvents

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
        values = _summary(held)
        by_partition = Counter(zip(values["topic"], values["partition"], strict=True))
        events: list[Event] = []
        purchases: list[Purchase] = []
        copies: list[Place] = []
        candidates = [
            (id_, at_us)
            for id_, at_us in zip(values["event_id"], values["event_at_us"], strict=True)
            if id_ is not None
        ]
        seen = self._seen.among(candidates)
        places = zip(values["topic"], values["partition"], values["offset"], strict=True)
        for place, id_, at_us, purchase in zip(
            places, values["event_id"], values["event_at_us"], values["purchase"], strict=True
        ):
            if id_ is None:
                continue
            if id_ in seen:
                copies.append(place)
                continue
            seen.add(id_)
            events.append((id_, at_us))
            if purchase is not None:
                purchases.append(Purchase(**purchase))
        return Judged(
            _with_is_copy(held, copies),
            held,
            by_partition,
            events,
            len(copies),
            len(values["event_id"]) - len(candidates),
            purchases,
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


def _summary(records: DataFrame) -> dict[str, list]:
    """What is decided about in the driver: a few values of each record, as lists of equal length."""
    purchase = F.struct(*purchase_columns())
    columns = records.select(
        "topic",
        "partition",
        "offset",
        "event_id",
        F.when(is_event(), F.unix_micros("event_at")).alias("event_at_us"),
        F.when(is_event() & is_purchase(), purchase).alias("purchase"),
    ).toArrow()
    return {name: columns[name].to_pylist() for name in columns.column_names}


def _with_is_copy(records: DataFrame, copies: list[Place]) -> DataFrame:
    if not copies:
        return records.withColumn("is_copy", F.lit(False))
    places = records.sparkSession.createDataFrame(copies, "topic string, partition int, offset bigint")
    marked = F.broadcast(places.withColumn("marked", F.lit(True)))
    return records.join(marked, ["topic", "partition", "offset"], how="left").withColumn(
        "is_copy", F.col("marked").isNotNull()
    )
