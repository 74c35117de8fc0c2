"""Records that were refused, judged once more by today's rules."""

from __future__ import annotations

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse import commits
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_QUARANTINE
from silver.judge import PLACE


def refused_records(spark: SparkSession, settings: Settings, rule: str | None = None) -> DataFrame:
    """The records in silver.quarantine, to be judged like rows of bronze, and where they were refused: `old_reasons`.

    Out: one row per record that is refused now; with `rule` only those that break it, whatever else they break. What a
    replay then commits does not change these rows.
    """
    version = commits.current_version(spark, SILVER_QUARANTINE, settings)
    refused = commits.read_table(spark, SILVER_QUARANTINE, settings, version).where(F.col("replayed_at").isNull())
    if rule is not None:
        refused = refused.where(F.array_contains("reasons", rule))
    # They came in the order in which they were first seen: of several with one id the first is the event.
    return refused.withColumn("ingested_at", F.col("first_seen_at")).withColumnRenamed("reasons", "old_reasons")


def after(records: DataFrame, place: tuple[object, ...] | None, limit: int) -> DataFrame:
    """The next records after this place in the order of first_seen_at, topic, partition, offset; at most `limit`."""
    columns = ("first_seen_at", *PLACE)
    if place is not None:
        is_after = F.lit(False)
        for name, value in reversed(list(zip(columns, place, strict=True))):
            is_after = (F.col(name) > F.lit(value)) | ((F.col(name) == F.lit(value)) & is_after)
        records = records.where(is_after)
    return records.orderBy(*columns).limit(limit)
