"""The tables of a rebuild, built in a lake beside the lake, while everything else runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from pyspark.sql import DataFrame, SparkSession

from lakehouse import commits
from lakehouse.errors import TableError
from lakehouse.revisions import in_revision
from lakehouse.settings import Settings
from lakehouse.streams import Position, Stop, follow_table, last_whole_version
from lakehouse.tables import BRONZE_EVENTS, GOLD_PRODUCT_SALES, SILVER_EVENTS, Table
from lakehouse.writer_schemas import WriterSchemas
from operate import derived
from operate.compare import SILVER, Comparison, broken_places, compare, derived_at, silver_at
from operate.derived import carts_at, derived_tables
from silver.refine import Refinement

Say = Callable[[str], None]

_SAY_EVERY_S = 5.0


def side_of(settings: Settings) -> Settings:
    """The lake beside the lake, in which a rebuild builds."""
    return settings.model_copy(update={"lake": f"{settings.lake_url}/_rebuild"})


class Build(Protocol):
    """Tables at the side, of all that the layer before has."""

    @property
    def note(self) -> commits.Note | None:
        """Of the rebuilt silver.events, but for what its commit adds; None when silver is not rebuilt."""
        ...

    def catch_up(self, stop: Stop) -> None:
        """Builds from what has come since the last call."""
        ...

    def compare(self) -> list[Comparison]:
        """:raises TableError: what was built breaks a promise."""
        ...


class GoldBeside:
    note: commits.Note | None = None

    def __init__(self, spark: SparkSession, settings: Settings, say: Say) -> None:
        self._spark, self._settings, self._say = spark, settings, say
        self._silver_version = -1

    def catch_up(self, _stop: Stop) -> None:
        version = commits.current_version(self._spark, SILVER_EVENTS, self._settings)
        if version != self._silver_version:
            self._silver_version = version
            events = commits.read_table(self._spark, SILVER_EVENTS, self._settings, version)
            _derive_beside(events, self._settings, self._say)

    def compare(self) -> list[Comparison]:
        live, side = derived_at(self._silver_version, self._settings), side_of(self._settings)
        return [
            _said(compare(table, self._settings, side, live.get(table.name)), self._say) for table in derived_tables()
        ]


class SilverBeside:
    """silver's tables by its own steps, and gold's from them."""

    def __init__(self, spark: SparkSession, settings: Settings, say: Say) -> None:
        self._spark, self._settings, self._say = spark, settings, say
        self._refinement = Refinement(spark, side_of(settings), WriterSchemas(spark, settings))
        self._done = 0

    @property
    def note(self) -> commits.Note:
        return {name: value for name, value in self._refinement.note.items() if name not in ("quality", "beside")}

    def catch_up(self, stop: Stop) -> None:
        total = commits.read_table(self._spark, BRONZE_EVENTS, self._settings).count()
        said_s = time.monotonic()

        def step(batch: DataFrame, end: Position) -> None:
            nonlocal said_s
            judged = self._refinement.judge(batch)
            self._refinement.write(judged, last_whole_version(end), datetime.now(UTC))
            judged.release()
            self._done += judged.counts["records"]
            if time.monotonic() - said_s > _SAY_EVERY_S:
                said_s = time.monotonic()
                self._say(f"silver: {self._done:,} of {total:,} records")

        read = self._refinement.read_version
        follow_table("rebuild", BRONZE_EVENTS, read, step, self._spark, self._settings, stop, once=True)
        self._say(f"silver: {self._done:,} of {total:,} records")
        if not stop.is_set() and self._refinement.read_version > read:
            events = commits.read_table(self._spark, SILVER_EVENTS, side_of(self._settings))
            _derive_beside(events, self._settings, self._say)

    def compare(self) -> list[Comparison]:
        side, read = side_of(self._settings), self._refinement.read_version
        broken = broken_places(self._settings, side, read)
        if broken:
            raise TableError(
                f"{broken} records of bronze are in no table of the rebuilt silver, or in more than one.",
                "each record in exactly one",
                "nothing was committed; this is a defect of the rebuild: report it",
            )
        live = silver_at(read, self._settings)
        tables = (*SILVER, *derived_tables())
        return [_said(compare(table, self._settings, side, live.get(table.name)), self._say) for table in tables]


def _derive_beside(events: DataFrame, settings: Settings, say: Say) -> None:
    """What follows from silver.events, at the side. Revisions are given when it is committed."""
    spark, side, now = events.sparkSession, side_of(settings), datetime.now(UTC)
    clock = carts_at(spark, settings)

    def read(table: Table) -> DataFrame:
        return events if table == SILVER_EVENTS else commits.read_table(spark, table, side)

    commits.create_tables(spark, derived_tables(), side)
    for each in derived.DERIVED:
        commits.overwrite(in_revision(each.whole(read, settings, clock), each.table, 0, now), each.table, side, {})
    say(f"gold: {commits.read_table(spark, GOLD_PRODUCT_SALES, side).count():,} products and windows")


def _said(comparison: Comparison, say: Say) -> Comparison:
    say(str(comparison))
    return comparison
