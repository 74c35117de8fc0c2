"""Tables that are committed first and published after: whatever dies in between, nothing stays unpublished."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse import commits
from lakehouse.revisions import keys_gone
from lakehouse.settings import Settings
from lakehouse.tables import PUBLISHED, Table
from lakehouse.topics import Key, Row, Topics, key_of
from lakehouse.wire import plain

_LOT = 10_000


def publish_committed(
    spark: SparkSession,
    settings: Settings,
    topics: Topics,
    table: Table,
    note: commits.Note,
    changed: pa.Table | None = None,
) -> commits.Note:
    """Publishes the rows of a table whose revision is above what is published, and withdraws the keys that its last
    commit has left without a row. Out: the note, with that in it, for the next commit.

    :param note: of the last commit: `revision`, `published`, and `gone` (`gone_keys`).
    :param changed: these rows, where they are at hand; else they are read from the table.
    """
    published, newest = note.get("published", 0), note.get("revision", 0)
    if published >= newest:
        return note
    if table in PUBLISHED:
        if changed is None:
            changed = commits.read_table(spark, table, settings).where(F.col("revision") > published).toArrow()
        for lot in in_lots(changed):
            topics.publish(table, lot)
        if note.get("gone"):
            topics.withdraw(table, [tuple(key) for key in note["gone"]], newest)
    return note | {"published": newest}


def changes(rows: DataFrame, old: DataFrame, table: Table, revision: int) -> tuple[pa.Table, list[list[str]]]:
    """In: rows of a table as they are to be and as they were, and the revision of those that have changed. Out: these,
    and the keys that are gone, for a note; in one job of Spark.
    """
    changed = rows.where(F.col("revision") == revision)
    marked = changed.withColumn("is_gone", F.lit(False)).unionByName(
        keys_gone(old, rows, table).withColumn("is_gone", F.lit(True)), allowMissingColumns=True
    )
    found = marked.toArrow()
    is_gone = found["is_gone"]
    gone = found.filter(is_gone).select(table.keys).to_pylist()
    return found.filter(pc.invert(is_gone)).drop_columns("is_gone"), [_note_key(row, table) for row in gone]


def gone_keys(keys: DataFrame, table: Table) -> list[list[str]]:
    """In: one row per key. Out: the keys for a note, their parts as a topic has them."""
    return [_note_key(row, table) for row in keys.toArrow().to_pylist()]


def _note_key(row: Row, table: Table) -> list[str]:
    return [plain(part) for part in key_of(row, table)]


def in_lots(rows: pa.Table) -> Iterator[list[Row]]:
    """The rows as values, 10,000 at a time: as values a row takes many times the room that it has in Arrow."""
    for lot in rows.to_batches(max_chunksize=_LOT):
        yield lot.to_pylist()


def keys_of(rows: list[Row], table: Table) -> list[Key]:
    return [key_of(row, table) for row in rows]
