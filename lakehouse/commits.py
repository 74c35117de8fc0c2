"""Reading and writing tables, with a note in each commit of how far the writer had read its source.

The notes are the truth about progress (docs/decisions/0002-progress-in-commits.md): a commit holds the rows and the
position together, so that no crash can part them, and whoever writes next, this process or another kind, goes on there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession

from lakehouse.errors import GoneError
from lakehouse.files import delete_folder, exists, list_names, read_text
from lakehouse.revisions import on_days
from lakehouse.settings import Settings
from lakehouse.tables import Table
from lakehouse.values import frame_of_rows

Note = dict[str, Any]

_KEPT = ("commits and files that are kept until all tables have read them", "run `lakehouse rebuild gold`")
_COMMIT_NAME = re.compile(r"\d{20}\.json")
_LAST_VERSION = "spark.databricks.delta.lastCommitVersionInSession"
_MERGE_NOTE = "spark.databricks.delta.commitInfo.userMetadata"


def create_tables(spark: SparkSession, tables: tuple[Table, ...], settings: Settings) -> None:
    """Makes the tables that are not there yet."""
    for table in tables:
        if current_version(spark, table, settings) >= 0:
            continue
        if all(name.startswith((".", "_staged")) for name in list_names(spark, _log(table, settings))):
            # A folder in which no commit was finished, as of a disk that was full: Delta would make no table there.
            delete_folder(spark, _log(table, settings))
        builder = (
            DeltaTable.createIfNotExists(spark)
            .location(table.path(settings))
            .comment(f"One row per {table.grain}.")
            .addColumns(table.schema)
            .partitionedBy(*table.partition_by)
            .property("delta.dataSkippingStatsColumns", ",".join(table.skipping))
        )
        builder.execute()


def read_table(spark: SparkSession, table: Table, settings: Settings, version: int | None = None) -> DataFrame:
    """The rows of a table, now or as of a version."""
    reader = spark.read.format("delta")
    if version is not None:
        reader = reader.option("versionAsOf", version)
    return reader.load(table.path(settings))


def read_old(
    spark: SparkSession, table: Table, settings: Settings, version: int, days: list[str] | None = None
) -> DataFrame:
    """The rows of an older version; with days, those in their folders.

    :raises GoneError: its files have been removed since.
    """
    rows = read_table(spark, table, settings, as_moved(spark, table, settings, version))
    rows = rows if days is None else on_days(rows, table, days)
    if not all(exists(spark, unquote(url)) for url in rows.inputFiles()):
        raise GoneError(f"Files of version {version} of {table.name} are gone.", *_KEPT)
    return rows


def as_moved(spark: SparkSession, table: Table, settings: Settings, version: int) -> int:
    """The newest version that has the same rows as this one: those after it have only put them into other files."""
    there = set(versions(spark, table, settings))
    while version + 1 in there and not _changes_rows(spark, table, settings, version + 1):
        version += 1
    return version


def append(rows: DataFrame, table: Table, settings: Settings, note: Note) -> int:
    """Adds the rows in one commit, with the note in it. Out: the version of the commit.

    The rows must have the columns of the table, in its order.
    """
    writer = rows.write.format("delta").mode("append").option("userMetadata", json.dumps(note))
    writer.save(table.path(settings))
    return last_version(rows.sparkSession)


def overwrite(rows: DataFrame, table: Table, settings: Settings, note: Note) -> int:
    """Replaces all rows in one commit, with the note in it; the versions before stay. Out: the version of the commit.

    The rows must have the columns of the table, in its order, and may have more, which the table then gets. They may be
    read from an older version of it.
    """
    if table.partition_by:
        # A folder's rows in one file, in their order: look-ups open few files.
        cores = rows.sparkSession.sparkContext.defaultParallelism
        rows = rows.repartition(4 * cores, *table.partition_by)
        rows = rows.sortWithinPartitions(*table.partition_by, *table.skipping[:1])
    writer = rows.write.format("delta").mode("overwrite").option("userMetadata", json.dumps(note))
    writer.option("mergeSchema", "true").save(table.path(settings))
    return last_version(rows.sparkSession)


def replace(rows: DataFrame, table: Table, settings: Settings, note: Note, days: list[str] | None) -> int:
    """Replaces all rows of these days in one commit, with the note in it; None: all rows. Out: the commit's version.

    The rows must have the columns of the table, in its order. They may be read from an older version of it.
    """
    writer = rows.coalesce(1).write.format("delta").mode("overwrite").option("userMetadata", json.dumps(note))
    if days is not None and table.partition_by:
        listed = ", ".join(f"DATE'{day}'" for day in days)
        writer = writer.option("replaceWhere", f"{table.partition_by[0]} IN ({listed})")
    writer.save(table.path(settings))
    return last_version(rows.sparkSession)


def added_rows(
    spark: SparkSession, table: Table, settings: Settings, after: int, upto: int
) -> tuple[DataFrame, list[str]]:
    """The rows that the commits after a version, up to another one, have added to a table in folders by day, and that
    are still there.

    Out: the rows, read from the files of these commits alone, however many the table has; and their days.

    :raises GoneError: Delta no longer keeps one of these commits in the log, or somebody has moved rows of theirs and
        removed the files where they were.
    """
    paths: dict[str, str] = {}
    for version in range(after + 1, upto + 1):
        for action in _actions(spark, table, settings, version):
            add, remove = action.get("add"), action.get("remove")
            if add and add["dataChange"]:
                paths[add["path"]] = add["partitionValues"][table.partition_by[0]]
            if remove and remove["dataChange"]:  # else its rows have only moved, and the file is kept for a while
                paths.pop(remove["path"], None)
    if not paths:
        return frame_of_rows(spark, [], table.schema), []
    reader = spark.read.schema(table.schema).option("basePath", table.path(settings))
    reader = reader.option("__globPaths__", "false")  # a folder may have `[` in its name
    files = [f"{table.path(settings)}/{unquote(path)}" for path in paths]
    if not all(exists(spark, file) for file in files):
        raise GoneError(f"Rows of {table.name} that were not read yet are in files that are gone.", *_KEPT)
    return reader.parquet(*files).select(*table.schema.fieldNames()), sorted(set(paths.values()))


def rows_added(spark: SparkSession, table: Table, settings: Settings, after: int) -> dict[int, int]:
    """How many rows each commit after a version has added to a table, oldest first, as Delta's statistics say."""
    added: dict[int, int] = {}
    for version in versions(spark, table, settings):
        if version > after:
            files = (action["add"] for action in _actions(spark, table, settings, version) if "add" in action)
            added[version] = sum(json.loads(file["stats"])["numRecords"] for file in files if file["dataChange"])
    return added


def append_nothing(spark: SparkSession, table: Table, settings: Settings, note: Note) -> int:
    """A commit without rows, for the sake of its note."""
    return append(frame_of_rows(spark, [], table.schema), table, settings, note)


def merge(rows: DataFrame, table: Table, settings: Settings, note: Note, only: str) -> int:
    """Upserts rows by the table's keys in one commit. Out: the version of the commit.

    `only` is a condition on the target `t` that tells Delta which files cannot hold a key of the rows.
    The session of the rows carries the note while this runs: it must not be used by another thread.
    """
    spark = rows.sparkSession
    same_key = " AND ".join(f"t.{key} = s.{key}" for key in table.keys)
    spark.conf.set(_MERGE_NOTE, json.dumps(note))
    try:
        (
            DeltaTable.forPath(spark, table.path(settings))
            .alias("t")
            .merge(rows.alias("s"), f"{only} AND {same_key}")
            .whenMatchedUpdateAll()
            .whenNotMatchedInsertAll()
            .execute()
        )
    finally:
        spark.conf.unset(_MERGE_NOTE)
    return last_version(spark)


def last_version(spark: SparkSession) -> int:
    """The version of the last commit of this session."""
    return int(spark.conf.get(_LAST_VERSION) or -1)


def current_version(spark: SparkSession, table: Table, settings: Settings) -> int:
    """The newest version of a table; -1 when it is not there."""
    return max(versions(spark, table, settings), default=-1)


def last_note(spark: SparkSession, table: Table, settings: Settings) -> Note:
    """The newest note of a table; empty when none was written yet."""
    for version in reversed(versions(spark, table, settings)):
        note = _note(spark, table, settings, version)
        if note is not None:
            return note
    return {}


def note_of(spark: SparkSession, table: Table, settings: Settings, version: int) -> Note:
    """The note of a version; of a commit that has none, as one that only moves rows, that of the one before. Empty if
    none was written by then.
    """
    for each in range(version, -1, -1):
        try:
            note = _note(spark, table, settings, each)
        except GoneError:  # the log does not go back so far
            return {}
        if note is not None:
            return note
    return {}


def notes_after(spark: SparkSession, table: Table, settings: Settings, version: int) -> Iterator[tuple[int, Note]]:
    """The notes after a version, oldest first, as long as Delta keeps them in the log. Out: (version, note)."""
    for later in versions(spark, table, settings):
        note = _note(spark, table, settings, later) if later > version else None
        if note is not None:
            yield later, note


def days_changed(spark: SparkSession, table: Table, settings: Settings, after: int) -> list[str] | None:
    """The days of a table that its commits after a version have replaced, as their notes say; None: all of them."""
    days: set[str] = set()
    for _, note in notes_after(spark, table, settings, after):
        if note.get("days") is None:
            return None
        days.update(note["days"])
    return sorted(days)


def _note(spark: SparkSession, table: Table, settings: Settings, version: int) -> Note | None:
    for line in _commit(spark, table, settings, version):
        if "commitInfo" in line:
            note = json.loads(line).get("commitInfo", {}).get("userMetadata")
            return None if note is None else dict(json.loads(note))
    return None


def _actions(spark: SparkSession, table: Table, settings: Settings, version: int) -> Iterator[dict[str, Any]]:
    """What a commit does, as Delta's protocol has it, in the order of the file."""
    return (json.loads(line) for line in _commit(spark, table, settings, version))


def _commit(spark: SparkSession, table: Table, settings: Settings, version: int) -> list[str]:
    """:raises GoneError: it is not in the log any more."""
    try:
        return read_text(spark, f"{_log(table, settings)}/{version:020d}.json").splitlines()
    except FileNotFoundError:
        raise GoneError(f"Version {version} of {table.name} is not in its log any more.", *_KEPT) from None


def _changes_rows(spark: SparkSession, table: Table, settings: Settings, version: int) -> bool:
    actions = _actions(spark, table, settings, version)
    return any(each["dataChange"] for action in actions for name, each in action.items() if name in ("add", "remove"))


def versions(spark: SparkSession, table: Table, settings: Settings) -> list[int]:
    """All versions whose commits are in the log, oldest first."""
    # Delta's protocol names a commit's file by its version. The table's history would tell too, in seconds, when cold.
    names = list_names(spark, _log(table, settings))
    return sorted(int(name[:20]) for name in names if _COMMIT_NAME.fullmatch(name))


def _log(table: Table, settings: Settings) -> str:
    return f"{table.path(settings)}/_delta_log"


def restore(spark: SparkSession, table: Table, settings: Settings, version: int) -> None:
    """Takes the table back to a version, as a new commit, when it has gone past it."""
    if current_version(spark, table, settings) > version:
        DeltaTable.forPath(spark, table.path(settings)).restoreToVersion(version)
