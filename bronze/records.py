"""Kafka record -> bronze row: nothing is changed, only placed."""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.schemas import BRONZE_EVENTS


def bronze_rows(records: DataFrame, ingested_at: datetime) -> DataFrame:
    """In: records as Spark's Kafka source gives them. Out: one row per record, for bronze.events."""
    return records.withColumns(
        {
            "kafka_at": F.col("timestamp"),
            "ingested_at": F.lit(ingested_at),
            "ingested_on": F.lit(ingested_at.date()),
        }
    ).select(*BRONZE_EVENTS.fieldNames())
