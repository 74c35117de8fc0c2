"""spark-submit silver/job.py: bronze.events -> silver.events, silver.duplicates, silver.quarantine; silver.sessions."""

from __future__ import annotations

from datetime import UTC, datetime

from pyspark.sql import DataFrame, SparkSession

from lakehouse.jobs import run_job
from lakehouse.rounds import alongside, in_rounds
from lakehouse.settings import Settings
from lakehouse.streams import Position, Stop, follow_table, last_whole_version
from lakehouse.tables import BRONZE_EVENTS
from lakehouse.topics import GoldTopics
from silver.quality import QualityLog
from silver.refine import Refinement
from silver.sessions_writer import SessionsWriter


def refine(
    spark: SparkSession, settings: Settings, refinement: Refinement, quality: QualityLog, stop: Stop, once: bool
) -> None:
    """Refines what bronze has beyond what silver has read, and with `once` false what it gets, until stopped."""

    def step(batch: DataFrame, end: Position) -> None:
        take_in(batch, last_whole_version(end), refinement, quality)

    follow_table("silver", BRONZE_EVENTS, refinement.read_version, step, spark, settings, stop, once)


def take_in(batch: DataFrame, bronze_version: int, refinement: Refinement, quality: QualityLog) -> None:
    """The step of the job. In: rows of bronze, up to this version, that silver has not read."""
    judged = refinement.judge(batch)
    silver_version = refinement.write(judged, bronze_version, datetime.now(UTC))
    quality.add(silver_version, refinement.note)
    judged.release()


def follow(spark: SparkSession, settings: Settings, stop: Stop, once: bool) -> None:
    refinement, quality = Refinement(spark, settings), QualityLog(spark, settings)
    with in_rounds((quality.write,), settings.round_s, stop):
        if once:
            refine(spark, settings, refinement, quality, stop, once)
            SessionsWriter(spark, settings, GoldTopics(settings)).follow(stop, once)
            return
        writer = SessionsWriter(spark, settings, GoldTopics(settings))
        with alongside(lambda own: writer.follow(own, once=False), stop):
            refine(spark, settings, refinement, quality, stop, once)


if __name__ == "__main__":
    run_job("silver", follow, description="Refine bronze.events into silver's tables.", also=("sessions",))
