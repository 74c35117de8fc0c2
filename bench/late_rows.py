"""Synthetic rows for measuring what comes late: a silver.events of any size, and the records of its events again.

Every value follows from the number of the event, so that a record made from the same number is a copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse import commits
from lakehouse.schemas import BRONZE_EVENTS
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_DUPLICATES, SILVER_EVENTS, SILVER_QUARANTINE
from silver.identity import content_hash

EVENTS_A_DAY, FILES_A_DAY = 100_000, 4
_APART_US = 86_400_000_000 // EVENTS_A_DAY
_FIRST_US = int(datetime(2020, 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
_KAFKA_AT = datetime(2021, 1, 1, tzinfo=UTC)
_JSON_TIME = "yyyy-MM-dd'T'HH:mm:ss.SSSSSS'Z'"


@dataclass(frozen=True)
class Late:
    """Late records. :param numbers: one row each: `number` of an event, `is_new`: told by another customer."""

    numbers: DataFrame
    copies: int


def make_silver(spark: SparkSession, settings: Settings, rows: int) -> None:
    """The tables of silver, with this many events of 100,000 a day, each file a stretch of one day, in one commit.

    In: a multiple of 25,000. The events are the numbers from 0 on.
    """
    commits.create_tables(spark, (SILVER_DUPLICATES, SILVER_QUARANTINE, SILVER_EVENTS), settings)
    numbers = spark.range(0, rows, 1, numPartitions=rows * FILES_A_DAY // EVENTS_A_DAY).withColumnRenamed(
        "id", "number"
    )
    events = _with_values(numbers, F.lit(0)).withColumns(
        {
            "event_id": content_hash(),
            "event_on": F.to_date("event_at"),
            "topic": F.lit(settings.events_topic),
            "partition": F.lit(0),
            "offset": F.col("number"),
            "kafka_at": F.lit(_KAFKA_AT),
            "processed_at": F.lit(_KAFKA_AT),
        }
    )
    schema = [
        F.col(field.name) if field.name in events.columns else F.lit(None).cast(field.dataType).alias(field.name)
        for field in SILVER_EVENTS.schema.fields
    ]
    beside = {table.name: 0 for table in (SILVER_DUPLICATES, SILVER_QUARANTINE)}
    clock_us = _FIRST_US + (rows - 1) * _APART_US
    note = {"bronze_version": 0, "clock_us": clock_us, "beside": beside}
    commits.append(events.select(*schema), SILVER_EVENTS, settings, note)


def a_day_again(spark: SparkSession, day: int) -> Late:
    """All events of a day, counted from 0, once more."""
    first = day * EVENTS_A_DAY
    numbers = spark.range(first, first + EVENTS_A_DAY, 1, 2).select(
        F.col("id").alias("number"), F.lit(False).alias("is_new")
    )
    return Late(numbers, EVENTS_A_DAY)


def spread_over(spark: SparkSession, rows: int, days: int, count: int) -> Late:
    """Evenly over the last days of a table of so many rows: every other one a copy, the others new at such times."""
    first, step = rows - days * EVENTS_A_DAY, days * EVENTS_A_DAY // count
    each = spark.range(0, count, 1, 2)
    return Late(
        each.select((first + F.col("id") * step).alias("number"), (F.col("id") % 2 == 1).alias("is_new")), count // 2
    )


def late_records(late: Late, settings: Settings, batch: int) -> DataFrame:
    """The records as rows of bronze.events, JSON as the store sends it, in memory. What is new is so in every batch."""
    salted = _with_values(late.numbers, F.when(F.col("is_new"), F.lit(batch)).otherwise(F.lit(0)))
    fields = F.struct(
        F.date_format("event_at", _JSON_TIME).alias("event_time"),
        "event_type",
        "product_id",
        "category_id",
        "category_code",
        "brand",
        F.col("price").cast("string").alias("price"),
        "user_id",
        "user_session",
    )
    values = {
        "key": F.col("user_id").cast("string").cast("binary"),
        "value": F.to_json(fields).cast("binary"),
        "topic": F.lit(settings.events_topic),
        "partition": F.lit(1),
        # A place of its own for every record, whatever the batch.
        "offset": F.lit(batch * 1_000_000_000) + F.col("number"),
        "kafka_at": F.lit(_KAFKA_AT),
        "ingested_at": F.lit(_KAFKA_AT),
        "ingested_on": F.to_date(F.lit(_KAFKA_AT)),
    }
    columns = [
        values.get(field.name, F.lit(None)).cast(field.dataType).alias(field.name) for field in BRONZE_EVENTS.fields
    ]
    records = salted.select(*columns).persist()
    records.count()
    return records


def _with_values(numbers: DataFrame, salt: Column) -> DataFrame:
    """Adds the normalised values of the events of these numbers. Another salt makes another customer."""
    number = F.col("number")
    return numbers.withColumns(
        {
            "event_at": F.timestamp_micros(F.lit(_FIRST_US) + number * _APART_US),
            "event_type": F.when(number % 16 == 0, F.lit("purchase")).otherwise(F.lit("view")),
            "product_id": 5_000_000 + number * 7919 % 54_571,
            "category_id": 1_487_580_000_000_000_000 + number * 31 % 500,
            "category_code": F.lit(None).cast("string"),
            "brand": F.when(number % 5 < 3, F.concat(F.lit("brand-"), number % 250)),
            "price": (number * 13 % 9_000 / 100 + 1).cast("decimal(10,2)"),
            "user_id": 100_000_000 + number * 104_729 % 1_600_000 + salt * 10_000_000,
            "user_session": F.concat(F.lit("00000000-0000-4000-8000-"), F.lpad((number / 5).cast("string"), 12, "0")),
        }
    )
