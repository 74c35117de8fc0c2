"""Kafka record -> bronze row: nothing is changed, only placed."""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.offsets import Offsets
from lakehouse.schemas import BRONZE_EVENTS

_BY_THE_BROKER = 1


def bronze_rows(records: DataFrame, ingested_at: datetime, shift: Offsets | None = None) -> DataFrame:
    """In: records as Spark's Kafka source gives them. Out: one row per record, for bronze.events.

    A topic that its producers stamp (`message.timestamp.type=CreateTime`) does not say when Kafka had a record: then it
    is when we have it. A producer's clock must move nothing of ours.

    :param shift: what is added to Kafka's offsets (lakehouse/reading.py).
    """
    offset = F.col("offset")
    for topic, partitions in (shift or {}).items():
        for partition, added in partitions.items():
            is_there = (F.col("topic") == topic) & (F.col("partition") == int(partition))
            offset = F.when(is_there, F.col("offset") + added).otherwise(offset)
    return records.withColumns(
        {
            "offset": offset,
            "kafka_at": F.when(F.col("timestampType") == _BY_THE_BROKER, F.col("timestamp")).otherwise(
                F.lit(ingested_at)
            ),
            "ingested_at": F.lit(ingested_at),
            "ingested_on": F.lit(ingested_at.date()),
        }
    ).select(*BRONZE_EVENTS.fieldNames())
