"""The slower tables of gold: in rounds, each goes on from what its source has got, then publishes what has changed.

A purchase does not wait for them: product_sales has the hot path for itself (docs/decisions/0014-gold-in-rounds.md).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from pyspark.sql import DataFrame, SparkSession

from gold.corrections import corrections_in
from gold.folds import FOLDS, Fold
from lakehouse import commits
from lakehouse.errors import GoneError
from lakehouse.publication import gone_keys, publish_committed
from lakehouse.revisions import keys_gone, on_days, revised
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_PRODUCT_SALES, GOLD_SALES_CORRECTIONS, SILVER_EVENTS, Table
from lakehouse.topics import Topics

log = logging.getLogger("lakehouse")

TABLES = (*(fold.table for fold in FOLDS), GOLD_SALES_CORRECTIONS)


class Ledger:
    """Keeps the tables of `gold.folds`, and the log of corrections. For the writer of gold, in one thread.

    A commit's note says up to which version of its source the table is folded, and up to which revision its rows had
    been published before. So what an earlier writer had committed and not published is published by the next one.
    """

    def __init__(self, spark: SparkSession, settings: Settings, topics: Topics) -> None:
        # A session of its own: rounds run beside the batches.
        self._spark, self._settings, self._topics = spark.newSession(), settings, topics
        self._notes: dict[Table, commits.Note] = {}
        self._new: dict[tuple[int, int], tuple[DataFrame, list[str]]] = {}

    @property
    def works(self) -> tuple[Callable[[], int], ...]:
        """What a round is made of, one for each table: it commits what its source has got since, and publishes it.
        Out of each: commits made.
        """
        return (*(partial(self._advance, fold) for fold in FOLDS), self._correct)

    def round(self) -> int:
        """One round. Out: commits made."""
        return sum(work() for work in self.works)

    def _begin(self) -> None:
        if not self._notes:
            commits.create_tables(self._spark, TABLES, self._settings)
            self._notes = {table: commits.last_note(self._spark, table, self._settings) for table in TABLES}
            for table in TABLES:
                self._publish(table)

    def _advance(self, fold: Fold) -> int:
        """Folds what the source has got since into the table. Out: 1 if that was anything."""
        self._begin()
        note = self._notes[fold.table]
        since, upto = note.get("source_version", 0), self._version(fold.source)
        if upto <= since:
            return 0
        try:
            facts, old, days = self._facts(fold, since, upto)
        except GoneError:  # somebody has vacuumed: then of all rows that there are
            facts, old, days = fold.whole(self._read(fold.source, upto)), self._read(fold.table), None
        read = {"source_version": upto, "silver_version": self._silver_version(fold.source, upto)}
        if days == []:
            self._notes[fold.table] = note | read
            return 0
        revision = note.get("revision", 0) + 1
        rows = revised(facts, old, fold.table, revision, datetime.now(UTC))
        gone = gone_keys(keys_gone(old, rows, fold.table), fold.table) if fold.shrinks else []
        self._commit(fold.table, note | read | {"revision": revision, "days": days, "gone": gone}, rows)
        return 1

    def _silver_version(self, source: Table, version: int) -> int:
        """Up to where a version of a source has read silver.events."""
        if source == SILVER_EVENTS:
            return version
        note = self._notes.get(source) or commits.note_of(self._spark, source, self._settings, version)
        return int(note["silver_version"])

    def _facts(self, fold: Fold, since: int, upto: int) -> tuple[DataFrame, DataFrame, list[str] | None]:
        """Out: facts that take the place of old rows; these; and the days that they are of, None for all days."""
        held = self._read(fold.table)
        if fold.source == SILVER_EVENTS and fold.held:
            added, days = self._added(since, upto)
            old = on_days(held, fold.table, days)
            return fold.facts(fold.held(old).unionByName(fold.pieces(added))), old, days
        changed = commits.days_changed(self._spark, fold.source, self._settings, since)
        source = self._read(fold.source, upto)
        if changed is None:
            return fold.whole(source), held, None
        old, pieces = on_days(held, fold.table, changed), fold.pieces(on_days(source, fold.source, changed))
        if fold.held and fold.taken_back:
            before = commits.read_old(self._spark, fold.source, self._settings, since, changed)
            back = fold.taken_back(fold.pieces(before))
            pieces = fold.held(old).unionByName(pieces).unionByName(back)
        return fold.facts(pieces), old, changed

    def _added(self, since: int, upto: int) -> tuple[DataFrame, list[str]]:
        """The new rows of silver. Several tables ask for the same, and to read the log takes longer than all else."""
        if (since, upto) not in self._new:
            self._new = {(since, upto): commits.added_rows(self._spark, SILVER_EVENTS, self._settings, since, upto)}
        return self._new[since, upto]

    def _correct(self) -> int:
        """Logs the changes of windows that had been complete. Out: commits made."""
        self._begin()
        note, made = self._notes[GOLD_SALES_CORRECTIONS], 0
        since = note.get("source_version", 0)
        before: commits.Note = {}
        for version, sales in commits.notes_after(self._spark, GOLD_PRODUCT_SALES, self._settings, since - 1):
            if version > since:
                try:
                    rows = corrections_in(self._spark, self._settings, version, before, sales, datetime.now(UTC))
                except GoneError as error:
                    log.warning("%s What version %d has corrected is not logged.", error.found, version)
                    rows = None
                note = note | {"source_version": version}
                if rows is not None:
                    revision = sales["revision"]
                    self._commit(GOLD_SALES_CORRECTIONS, note | {"revision": revision}, rows)
                    note, made = self._notes[GOLD_SALES_CORRECTIONS], made + 1
            before = sales
        self._notes[GOLD_SALES_CORRECTIONS] = note
        return made

    def _commit(self, table: Table, note: commits.Note, rows: DataFrame) -> None:
        if table == GOLD_SALES_CORRECTIONS:
            commits.append(rows.coalesce(1), table, self._settings, note)
        else:
            commits.replace(rows, table, self._settings, note, note.get("days"))
        self._notes[table] = note
        self._publish(table)

    def _publish(self, table: Table) -> None:
        self._notes[table] = publish_committed(self._spark, self._settings, self._topics, table, self._notes[table])

    def _version(self, table: Table) -> int:
        return commits.current_version(self._spark, table, self._settings)

    def _read(self, table: Table, version: int | None = None) -> DataFrame:
        return commits.read_table(self._spark, table, self._settings, version)
