"""A lake in a folder, fed by hand, and the steps of silver and gold on it."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import gold.job
import silver.job
from gold import folds
from gold.aggregate import Aggregation
from gold.carts import Carts
from gold.ledger import Ledger
from lakehouse import commits
from lakehouse.schemas import stable_columns
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from lakehouse.tables import (
    BRONZE_EVENTS,
    GOLD_PRODUCT_SALES,
    GOLD_SALES_CORRECTIONS,
    SILVER_DUPLICATES,
    SILVER_EVENTS,
    SILVER_QUARANTINE,
    Table,
)
from lakehouse.topics import Key, Row
from lakehouse.topics import key_of as row_key
from operate import derived
from operate.lake import open_dataset
from silver.quality import QualityLog
from silver.refine import Refinement
from silver.sessions_writer import SessionsWriter
from tests.builders import INGESTED_AT, Fields, Record, bronze_frame, records

Place = tuple[str, int, int]
SILVER = (SILVER_EVENTS, SILVER_DUPLICATES, SILVER_QUARANTINE)


class FakeTopic:
    """Stands for gold's topics: keeps everything that was ever published, in order; of product-sales in `rows`."""

    def __init__(self) -> None:
        self.by_table: dict[Table, list[Row]] = defaultdict(list)
        self.gone: dict[Table, dict[Key, int]] = defaultdict(dict)
        self.paid_at_us: list[Mapping[Key, int]] = []

    @property
    def rows(self) -> list[Row]:
        return self.by_table[GOLD_PRODUCT_SALES]

    @property
    def withdrawn(self) -> dict[Key, int]:
        return self.gone[GOLD_PRODUCT_SALES]

    def publish(self, table: Table, rows: list[Row], paid_at_us: Mapping[Key, int] | None = None) -> None:
        self.by_table[table].extend(rows)
        if table == GOLD_PRODUCT_SALES:
            self.paid_at_us.append(paid_at_us or {})

    def withdraw(self, table: Table, keys: list[Key], revision: int) -> None:
        self.gone[table] |= dict.fromkeys(keys, revision)

    def newest(self, table: Table = GOLD_PRODUCT_SALES) -> dict[Key, Row]:
        """What a reader has that keeps the highest revision of each key."""
        rows = sorted(self.by_table[table], key=lambda row: row["revision"])
        newest = {row_key(row, table): row for row in rows}
        return {key: row for key, row in newest.items() if row["revision"] > self.gone[table].get(key, -1)}


def key_of(row: Row) -> Key:
    return row["window_start_at"], row["product_id"]


class WhenRead(Stop):
    """Says stop when sessions have read this version of silver.events."""

    def __init__(self, writer: SessionsWriter, version: int) -> None:
        super().__init__()
        self._writer, self._version = writer, version

    def is_set(self) -> bool:
        return self._writer.read_version >= self._version

    def wait(self, timeout_s: float) -> bool:
        return self.is_set() or super().wait(timeout_s)


class Lake:
    def __init__(self, spark: SparkSession, settings: Settings, topic: FakeTopic | None = None) -> None:
        self.spark, self.settings, self.topic = spark, settings, topic or FakeTopic()
        self._refinement: Refinement | None = None
        commits.create_tables(spark, (BRONZE_EVENTS,), settings)

    def land(self, records: Iterable[Record], ingested_at: datetime = INGESTED_AT) -> int:
        """One commit of one file in bronze, as bronze.land.Landing makes them, which would ask Kafka where to go on."""
        rows = bronze_frame(self.spark, records).withColumn("ingested_at", F.lit(ingested_at)).coalesce(1)
        return commits.append(rows, BRONZE_EVENTS, self.settings, {"position": {}})

    def land_later(self, records: Iterable[Record]) -> int:
        """As `land`, a second after it."""
        return self.land(records, INGESTED_AT + timedelta(seconds=1))

    def refine(self, refinement: Refinement | None = None) -> Refinement:
        """Silver takes in all that bronze has, at once. Without a refinement, as a process that was just started."""
        refinement = refinement or Refinement(self.spark, self.settings)
        quality = QualityLog(self.spark, self.settings)
        read, newest = refinement.read_version, self.version(BRONZE_EVENTS)
        if newest > read:
            batch, _ = commits.added_rows(self.spark, BRONZE_EVENTS, self.settings, read, newest)
            silver.job.take_in(batch, newest, refinement, quality)
        return refinement

    def refine_by_stream(self, refinement: Refinement | None = None) -> Refinement:
        """The same as the job does it: in the batches of the stream."""
        refinement = refinement or Refinement(self.spark, self.settings)
        quality = QualityLog(self.spark, self.settings)
        silver.job.refine(self.spark, self.settings, refinement, quality, Stop(), once=True)
        return refinement

    def put(self, values: list[Fields], first_offset: int) -> None:
        """One commit of silver, by its step: for tests of what comes after it, which need no bronze and no stream."""
        self._refinement = refinement = self._refinement or Refinement(self.spark, self.settings)
        judged = refinement.judge(bronze_frame(self.spark, records(values, first_offset=first_offset)))
        refinement.write(judged, refinement.read_version + 1, INGESTED_AT)
        judged.release()

    def aggregate(self, aggregation: Aggregation | None = None) -> Aggregation:
        """Gold takes in all that silver has, at once. Without an aggregation, as a process that was just started."""
        aggregation = aggregation or Aggregation(self.spark, self.settings, self.topic)
        read, newest = aggregation.read_version, self.version(SILVER_EVENTS)
        if newest > read:
            batch, _ = commits.added_rows(self.spark, SILVER_EVENTS, self.settings, read, newest)
            gold.job.take_in(batch, newest, True, aggregation)
        aggregation.upsert()
        return aggregation

    def aggregate_by_stream(self, aggregation: Aggregation | None = None) -> Aggregation:
        """The same as the job does it: in the batches of the stream."""
        aggregation = aggregation or Aggregation(self.spark, self.settings, self.topic)
        gold.job.aggregate(self.spark, self.settings, aggregation, (aggregation.upsert,), Stop(), once=True)
        return aggregation

    def take_sessions(self, writer: SessionsWriter | None = None) -> SessionsWriter:
        """Sessions take in all of silver.events, in bulk. Without a writer, as a process that was just started."""
        writer = writer or SessionsWriter(self.spark, self.settings, self.topic)
        writer.follow(Stop(), once=True)
        return writer

    def take_sessions_by_stream(self, writer: SessionsWriter | None = None) -> SessionsWriter:
        """The same through the stream. Without a writer, as a process that was just started."""
        writer = writer or SessionsWriter(self.spark, self.settings, self.topic)
        writer.stream(WhenRead(writer, self.version(SILVER_EVENTS)))
        return writer

    def leave(self, carts: Carts | None = None) -> Carts:
        """One round of abandoned carts, by a clock that nothing waits behind."""
        carts = carts or Carts(self.spark, self.settings, self.topic, lambda: True)
        carts.round()
        return carts

    def keep(self, ledger: Ledger | None = None) -> Ledger:
        """One round of gold's slower tables. Without a ledger, as a process that was just started."""
        ledger = ledger or Ledger(self.spark, self.settings, self.topic)
        ledger.round()
        return ledger

    def read(self, table: Table, *columns: str) -> pa.Table:
        """The rows of a table, read by an engine that had no part in writing them, in a tenth of Spark's time."""
        return open_dataset(table, self.settings).to_table(columns=list(columns) or table.schema.fieldNames())

    def rows(self, table: Table, *columns: str) -> list[tuple[Any, ...]]:
        """The rows of a table as plain tuples, sorted."""
        rows = self.read(table, *columns).to_pylist()
        return sorted((tuple(map(_plain, row.values())) for row in rows), key=repr)

    def stable_rows(self, table: Table) -> list[tuple[Any, ...]]:
        """The rows in the columns in which a replay must equal the live run."""
        return self.rows(table, *stable_columns(table.schema))

    def sales(self) -> dict[Key, Row]:
        rows = self.read(GOLD_PRODUCT_SALES).to_pylist()
        by_key = {key_of(row): row for row in rows}
        assert len(by_key) == len(rows), "a key is in gold twice"
        return by_key

    def version(self, table: Table) -> int:
        return commits.current_version(self.spark, table, self.settings)

    def note(self, table: Table) -> commits.Note:
        return commits.last_note(self.spark, table, self.settings)

    def copy(self, home: Path) -> Lake:
        """The same lake at another place, to go another way with."""
        settings = self.settings.model_copy(update={"home": home})
        shutil.copytree(self.settings.lake_url, settings.lake_url)
        topic = FakeTopic()
        for table, rows in self.topic.by_table.items():
            topic.by_table[table].extend(rows)
        return Lake(self.spark, settings, topic)

    def assert_conserved(self) -> None:
        """Each record of bronze is in exactly one table of silver, once."""
        place = ("topic", "partition", "offset")
        in_silver = Counter(row for table in SILVER for row in self.rows(table, *place))
        replayed = self.rows(SILVER_QUARANTINE, *place, "replayed_at")
        in_silver -= Counter(tuple(row) for *row, replayed_at in replayed if replayed_at is not None)
        assert in_silver == Counter(self.rows(BRONZE_EVENTS, *place))
        assert set(in_silver.values()) <= {1}

    def assert_published(self, table: Table = GOLD_PRODUCT_SALES) -> None:
        """A key and revision never had two contents, and the newest of each key is what gold has."""
        content: dict[tuple[Key, int], Row] = {}
        for row in self.topic.by_table[table]:
            assert content.setdefault((row_key(row, table), row["revision"]), row) == row
        found = self.read(table).to_pylist()
        rows = {row_key(row, table): row for row in found}
        assert len(rows) == len(found), "a key is in gold twice"
        assert self.topic.newest(table) == rows


def keep_only(monkeypatch: pytest.MonkeyPatch, *tables: Table) -> None:
    """Gold keeps and rebuilds these and product_sales. Each other one costs a second a round."""
    kept = tuple(fold for fold in folds.FOLDS if fold.table in tables)
    names = tuple(fold.table for fold in kept)
    monkeypatch.setattr("gold.ledger.FOLDS", kept)
    monkeypatch.setattr("gold.ledger.TABLES", (*names, GOLD_SALES_CORRECTIONS))
    always = (GOLD_PRODUCT_SALES, *names)
    monkeypatch.setattr(derived, "DERIVED", tuple(each for each in derived.DERIVED if each.table in always))


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
