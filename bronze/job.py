"""spark-submit bronze/job.py: Kafka -> bronze.events."""

from __future__ import annotations

from datetime import UTC, datetime

from pyspark.sql import DataFrame, SparkSession

from bronze.land import Landing, count_by_partition
from bronze.records import bronze_rows
from bronze.source import kafka_stream
from lakehouse.jobs import run_job
from lakehouse.settings import Settings
from lakehouse.streams import Position, Stop, run


def follow(spark: SparkSession, settings: Settings, stop: Stop, once: bool) -> None:
    """Lands what Kafka has, and with `once` false what it gets, until stopped."""
    landing = Landing(spark, settings)

    def step(batch: DataFrame, end: Position) -> None:
        rows = bronze_rows(batch, landing.after_all_before(datetime.now(UTC))).persist()
        landing.land(rows, end, count_by_partition(rows))
        rows.unpersist()

    run("bronze", kafka_stream(spark, settings, landing.read), step, settings, stop, once)


if __name__ == "__main__":
    run_job("bronze", follow, description="Land Kafka's raw records in bronze.events.")
