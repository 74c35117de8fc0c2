"""Tables that are committed first and published after: whatever dies in between, nothing stays unpublished."""

from __future__ import annotations

from collections.abc import Iterator

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse import commits
from lakehouse.settings import Settings
from lakehouse.tables import PUBLISHED, Table
from lakehouse.topics import Key, Row, Topics, key_of
from lakehouse.wire import plain

_LOT = 10_000


def publish_committed(
    spark: SparkSession, settings: Settings, topics: Topics, table: Table, note: commits.Note
) -> commits.Note:
    """Publishes the rows of a table whose revision is above what is published, and withdraws the keys that its last
    commit has left without a row. Out: the note, with that in it, for the next commit.

    :param note: of the last commit: `revision`, `published`, and `gone` (`gone_keys`).
    """
    published, newest = note.get("published", 0), note.get("revision", 0)
    if published >= newest:
        return note
    if table in PUBLISHED:
        rows = commits.read_table(spark, table, settings)
        for lot in in_lots(rows.where(F.col("revision") > published), _LOT):
            topics.publish(table, lot)
        if note.get("gone"):
            topics.withdraw(table, [tuple(key) for key in note["gone"]], newest)
    return note | {"published": newest}


def gone_keys(keys: DataFrame, table: Table) -> list[list[str]]:
    """In: one row per key. Out: the keys for a note, their parts as a topic has them."""
    return [[plain(part) for part in key_of(row, table)] for row in keys.toArrow().to_pylist()]


def in_lots(rows: DataFrame, size: int) -> Iterator[list[Row]]:
    """The rows as values, so many at a time. All are held in memory as Arrow has them: about 100 bytes a row."""
    for lot in rows.toArrow().to_batches(max_chunksize=size):
        yield lot.to_pylist()


def keys_of(rows: list[Row], table: Table) -> list[Key]:
    return [key_of(row, table) for row in rows]
