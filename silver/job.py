"""spark-submit silver/job.py: bronze.events -> silver.events, silver.duplicates, silver.quarantine."""

from __future__ import annotations

from datetime import UTC, datetime

from pyspark.sql import DataFrame, SparkSession

from lakehouse.jobs import run_job
from lakehouse.settings import Settings
from lakehouse.streams import Position, Stop, follow_table, last_whole_version
from lakehouse.tables import BRONZE_EVENTS
from silver.refine import Refinement


def refine(spark: SparkSession, settings: Settings, refinement: Refinement, stop: Stop, once: bool) -> None:
    """Refines what bronze has beyond what silver has read, and with `once` false what it gets, until stopped."""

    def step(batch: DataFrame, end: Position) -> None:
        judged = refinement.judge(batch)
        refinement.write(judged, last_whole_version(end), datetime.now(UTC))
        judged.release()

    follow_table("silver", BRONZE_EVENTS, refinement.read_version, step, spark, settings, stop, once)


def follow(spark: SparkSession, settings: Settings, stop: Stop, once: bool) -> None:
    refine(spark, settings, Refinement(spark, settings), stop, once)


if __name__ == "__main__":
    run_job("silver", follow, description="Refine bronze.events into silver's tables.")
