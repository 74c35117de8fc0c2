"""Reading and writing tables, with a note in each commit of how far the writer had read its source.

The notes are the truth about progress (docs/decisions/0002-progress-in-commits.md): a commit holds the rows and the
position together, so that no crash can part them, and whoever writes next, this process or another kind, goes on there.
"""

from __future__ import annotations

import json
from typing import Any

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.settings import Settings
from lakehouse.tables import Table

Note = dict[str, Any]

_LAST_VERSION = "spark.databricks.delta.lastCommitVersionInSession"
_MERGE_NOTE = "spark.databricks.delta.commitInfo.userMetadata"


def create_tables(spark: SparkSession, tables: tuple[Table, ...], settings: Settings) -> None:
    """Makes the tables that are not there yet."""
    for table in tables:
        path = table.path(settings)
        if DeltaTable.isDeltaTable(spark, path):
            continue
        builder = (
            DeltaTable.createIfNotExists(spark)
            .location(path)
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


def append(rows: DataFrame, table: Table, settings: Settings, note: Note) -> int:
    """Adds the rows in one commit, with the note in it. Out: the version of the commit.

    The rows must have the columns of the table, in its order.
    """
    writer = rows.write.format("delta").mode("append").option("userMetadata", json.dumps(note))
    writer.save(table.path(settings))
    return last_version(rows.sparkSession)


def append_nothing(spark: SparkSession, table: Table, settings: Settings, note: Note) -> int:
    """A commit without rows, for the sake of its note."""
    return append(spark.createDataFrame([], table.schema), table, settings, note)


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
    return int(DeltaTable.forPath(spark, table.path(settings)).history(1).select("version").collect()[0][0])


def last_note(spark: SparkSession, table: Table, settings: Settings) -> Note:
    """The newest note of a table; empty when none was written yet."""
    history = DeltaTable.forPath(spark, table.path(settings))
    for limit in (1, 20, None):
        commits = history.history(limit) if limit else history.history()
        noted = commits.where(F.col("userMetadata").isNotNull()).orderBy(F.desc("version")).first()
        if noted is not None:
            return dict(json.loads(noted["userMetadata"]))
    return {}


def restore(spark: SparkSession, table: Table, settings: Settings, version: int) -> None:
    """Takes the table back to a version, as a new commit, when it has gone past it."""
    if current_version(spark, table, settings) > version:
        DeltaTable.forPath(spark, table.path(settings)).restoreToVersion(version)
