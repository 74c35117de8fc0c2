"""Judged records -> rows of the three tables of silver. Each record goes into exactly one of them."""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from lakehouse.schemas import SILVER_DUPLICATES, SILVER_EVENTS, SILVER_QUARANTINE
from silver.rejects import CONFLICT, CONFLICTING_ID

NEW, COPY = "new", "copy"
"""With CONFLICT, what may be said of a record that keeps all rules: its `verdict`."""


def is_event() -> Column:
    """Does the record keep all rules that can be told from it alone?"""
    return F.size("reasons") == 0


def event_rows(judged: DataFrame, processed_at: datetime) -> DataFrame:
    """In: judged records (`reasons`, `verdict`). Out: one row per distinct event, for silver.events."""
    return (
        judged.where(is_event() & (F.col("verdict") == NEW))
        .withColumns({"event_on": F.to_date("event_at"), "processed_at": F.lit(processed_at)})
        .select(*SILVER_EVENTS.fieldNames())
    )


def duplicate_rows(judged: DataFrame) -> DataFrame:
    """In: judged records. Out: one row per copy of an event, for silver.duplicates."""
    return judged.where(is_event() & (F.col("verdict") == COPY)).select(*SILVER_DUPLICATES.fieldNames())


def _reasons() -> Column:
    return F.when(~is_event(), F.col("reasons")).otherwise(F.array(F.lit(CONFLICTING_ID.name)))


def _is_refused() -> Column:
    return ~is_event() | (F.col("verdict") == CONFLICT)


def quarantine_rows(judged: DataFrame, first_seen_at: datetime) -> DataFrame:
    """In: judged records. Out: one row per record that breaks a rule, for silver.quarantine."""
    return (
        judged.where(_is_refused())
        .withColumns(
            {
                "reasons": _reasons(),
                "first_seen_at": F.lit(first_seen_at),
                "replayed_at": F.lit(None).cast("timestamp"),
            }
        )
        .select(*SILVER_QUARANTINE.fieldNames())
    )


def replayed_rows(judged: DataFrame, replayed_at: datetime) -> DataFrame:
    """In: judged rows of silver.quarantine (`silver.replay`). Out: the rows that change there: one with `replayed_at`
    per record that is refused no longer, one with today's reasons per record that is refused for others than it was.
    """
    return (
        judged.withColumns(
            {
                "reasons": F.when(_is_refused(), _reasons()).otherwise(F.col("old_reasons")),
                "replayed_at": F.when(~_is_refused(), F.lit(replayed_at)),
            }
        )
        .where(F.col("replayed_at").isNotNull() | (F.col("reasons") != F.col("old_reasons")))
        .select(*SILVER_QUARANTINE.fieldNames())
    )


def with_history(rebuilt: DataFrame, old: DataFrame) -> DataFrame:
    """What a rebuild's quarantine keeps of the old one: the rows of records that were replayed, and when a record was
    first seen.

    In: silver.quarantine as rebuilt, and as it was. Out: one row per refused record, and the replayed ones.
    """
    place = ["topic", "partition", "offset"]
    seen = old.groupBy(*place).agg(F.min("first_seen_at").alias("seen_before"))
    kept = rebuilt.join(seen, place, how="left").withColumn("first_seen_at", F.coalesce("seen_before", "first_seen_at"))
    names = SILVER_QUARANTINE.fieldNames()
    return kept.select(*names).unionByName(old.where(F.col("replayed_at").isNotNull()).select(*names))
