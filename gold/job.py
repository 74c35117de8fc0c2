"""spark-submit gold/job.py: silver.events -> the tables of gold and their topics."""

from __future__ import annotations

from datetime import UTC, datetime

from pyspark.sql import DataFrame, SparkSession

from gold.aggregate import Aggregation
from gold.carts import Carts, all_is_read
from gold.ledger import Ledger
from lakehouse.handover import purchases_in
from lakehouse.jobs import run_job
from lakehouse.rounds import Work, in_rounds
from lakehouse.settings import Settings
from lakehouse.streams import Position, Stop, follow_table, is_whole, last_whole_version
from lakehouse.tables import SILVER_EVENTS
from lakehouse.topics import GoldTopics


def aggregate(
    spark: SparkSession, settings: Settings, aggregation: Aggregation, works: tuple[Work, ...], stop: Stop, once: bool
) -> None:
    """Aggregates what silver has beyond what gold has read, and with `once` false what it gets, until stopped.

    :param works: done in rounds beside it, and at its end.
    """

    def step(batch: DataFrame, end: Position) -> None:
        whole = last_whole_version(end)
        take_in(batch, whole if is_whole(end) else whole + 1, is_whole(end), aggregation)

    with in_rounds(works, settings.round_s, stop):
        follow_table("gold", SILVER_EVENTS, aggregation.read_version, step, spark, settings, stop, once)


def take_in(batch: DataFrame, silver_version: int, is_complete: bool, aggregation: Aggregation) -> None:
    """The step of the job. In: rows of silver.events, up to this version, that gold has not read.

    :param is_complete: no file of this version is missing.
    """
    change = aggregation.revise(purchases_in(batch), silver_version, datetime.now(UTC))
    aggregation.publish(change)
    aggregation.settle([change], silver_version if is_complete else None)


def follow(spark: SparkSession, settings: Settings, stop: Stop, once: bool) -> None:
    topics = GoldTopics(settings)
    aggregation, ledger = Aggregation(spark, settings, topics), Ledger(spark, settings, topics)
    carts = Carts(spark, settings, topics, lambda: all_is_read(spark, settings))
    with in_rounds((carts.round,), settings.carts_s, stop, is_urgent=True):
        aggregate(spark, settings, aggregation, (aggregation.upsert, *ledger.works), stop, once)


if __name__ == "__main__":
    run_job(
        "gold",
        follow,
        description="Aggregate silver.events into the tables of gold and publish each change.",
        also=("ledger", "carts"),
    )
