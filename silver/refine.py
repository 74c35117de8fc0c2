"""The step of the silver layer: bronze rows into events, duplicates and quarantine, each in exactly one."""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import DataFrame, SparkSession

from lakehouse import commits
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_DUPLICATES, SILVER_EVENTS, SILVER_QUARANTINE, Table
from lakehouse.writer_schemas import WriterSchemas
from silver.judge import Judge, Judged
from silver.rows import duplicate_rows, event_rows, quarantine_rows, replayed_rows


class Refinement:
    """Judges and writes batches; keeps the version of bronze.events up to which it has read, and the store clock.

    Making one takes back what a batch that died half-way left in the side tables: silver.events is written last and its
    notes say which versions of the others belong to it.

    :param schemas: what Avro records are read by, where they are of another lake.
    """

    def __init__(self, spark: SparkSession, settings: Settings, schemas: WriterSchemas | None = None) -> None:
        self._settings = settings
        commits.create_tables(spark, (SILVER_DUPLICATES, SILVER_QUARANTINE, SILVER_EVENTS), settings)
        note = commits.last_note(spark, SILVER_EVENTS, settings)
        self.read_version: int = note.get("bronze_version", 0)
        self._beside = {
            table: int(note.get("beside", {}).get(table.name, 0)) for table in (SILVER_DUPLICATES, SILVER_QUARANTINE)
        }
        for table, version in self._beside.items():
            commits.restore(spark, table, settings, version)
            self._beside[table] = commits.current_version(spark, table, settings)
        self.version = commits.current_version(spark, SILVER_EVENTS, settings)
        self.note = note
        self._judge = Judge(spark, settings, note, schemas or WriterSchemas(spark, settings))

    def judge(self, records: DataFrame) -> Judged:
        """In: bronze rows, none of which silver has. Reads the tables at most; writes nothing."""
        return self._judge.judge(records)

    def hold(self, judged: Judged) -> None:
        """The batch will be written later: those after it are judged as if it was in the tables."""
        self._judge.hold(judged)

    def write(self, judged: Judged, bronze_version: int, processed_at: datetime) -> int:
        """Appends a judged batch, which ends with this version of bronze.events. Out: the version of silver.events."""
        if judged.counts["duplicates"]:
            self._append_beside(SILVER_DUPLICATES, duplicate_rows(judged.records), bronze_version)
        if judged.counts["quarantined"]:
            self._append_beside(SILVER_QUARANTINE, quarantine_rows(judged.records, processed_at), bronze_version)
        return self._append_events(judged, bronze_version, processed_at, {"quality": judged.counts})

    def write_replayed(self, judged: Judged, replayed_at: datetime) -> int:
        """Moves what is refused no longer out of quarantine. In: judged rows of silver.quarantine (`silver.replay`).
        Out: the version of silver.events.
        """
        if judged.counts["duplicates"]:
            self._append_beside(SILVER_DUPLICATES, duplicate_rows(judged.records), self.read_version)
        note = {"bronze_version": self.read_version, "replayed": True}
        changed = replayed_rows(judged.records, replayed_at)
        only = "t.replayed_at IS NULL"
        self._beside[SILVER_QUARANTINE] = commits.merge(changed, SILVER_QUARANTINE, self._settings, note, only)
        return self._append_events(judged, self.read_version, replayed_at, {"replayed": True})

    def _append_events(self, judged: Judged, bronze_version: int, processed_at: datetime, more: commits.Note) -> int:
        clock = self._judge.clock_after(judged)
        note = {
            "bronze_version": bronze_version,
            "clock_us": clock and clock.at_us,
            "clock_lag_us": clock and clock.lag_us,
            # What a replay takes out of quarantine had come long before.
            "kafka_at_us": max(judged.kafka_at_us or 0, self.note.get("kafka_at_us") or 0),
            "own_ids": self._judge.own_ids + sum(event.has_own_id for event in judged.events),
            "beside": {table.name: version for table, version in self._beside.items()},
            "processed_at_us": round(processed_at.timestamp() * 1_000_000),
        } | more
        rows = event_rows(judged.records, processed_at).coalesce(1)
        self.version = commits.append(rows, SILVER_EVENTS, self._settings, note)
        self._judge.remember(judged)
        self.read_version, self.note = bronze_version, note
        return self.version

    def _append_beside(self, table: Table, rows: DataFrame, bronze_version: int) -> None:
        note = {"bronze_version": bronze_version}
        self._beside[table] = commits.append(rows.coalesce(1), table, self._settings, note)
