"""spark-submit bronze/job.py: Kafka -> bronze.events, bronze.schemas."""

from __future__ import annotations

from datetime import UTC, datetime

from pyspark.sql import DataFrame, SparkSession

from bronze.land import Landing, count_by_partition
from bronze.records import bronze_rows
from bronze.schemas import SeenSchemas
from bronze.source import kafka_stream
from lakehouse.jobs import run_job
from lakehouse.settings import Settings
from lakehouse.streams import Position, Stop, run


def follow(spark: SparkSession, settings: Settings, stop: Stop, once: bool) -> None:
    """Lands what Kafka has, and with `once` false what it gets, until stopped."""
    landing, schemas = Landing(spark, settings), SeenSchemas(spark, settings)

    def step(batch: DataFrame, end: Position) -> None:
        rows = bronze_rows(batch, landing.after_all_before(datetime.now(UTC)), landing.shift).persist()
        counts, schema_ids = count_by_partition(rows, settings)
        landing.check_topics()
        if schema_ids:
            schemas.keep(schema_ids, stop)
        landing.land(rows, end, counts)
        rows.unpersist()

    run("bronze", kafka_stream(spark, settings, landing.start), step, settings, stop, once)


if __name__ == "__main__":
    run_job("bronze", follow, description="Land Kafka's raw records in bronze.events.")
