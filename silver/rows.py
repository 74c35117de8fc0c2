"""Judged records -> rows of the three tables of silver. Each record goes into exactly one of them."""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from lakehouse.schemas import SILVER_DUPLICATES, SILVER_EVENTS, SILVER_QUARANTINE


def is_event() -> Column:
    """Does the record keep all rules?"""
    return F.size("reasons") == 0


def event_rows(judged: DataFrame, processed_at: datetime) -> DataFrame:
    """In: judged records (`reasons`, `is_copy`). Out: one row per distinct event, for silver.events."""
    return (
        judged.where(is_event() & ~F.col("is_copy"))
        .withColumns({"event_on": F.to_date("event_at"), "processed_at": F.lit(processed_at)})
        .select(*SILVER_EVENTS.fieldNames())
    )


def duplicate_rows(judged: DataFrame) -> DataFrame:
    """In: judged records. Out: one row per copy of an event, for silver.duplicates."""
    return judged.where(is_event() & F.col("is_copy")).select(*SILVER_DUPLICATES.fieldNames())


def quarantine_rows(judged: DataFrame, first_seen_at: datetime) -> DataFrame:
    """In: judged records. Out: one row per record that breaks a rule, for silver.quarantine."""
    return (
        judged.where(~is_event())
        .withColumns({"first_seen_at": F.lit(first_seen_at), "replayed_at": F.lit(None).cast("timestamp")})
        .select(*SILVER_QUARANTINE.fieldNames())
    )
