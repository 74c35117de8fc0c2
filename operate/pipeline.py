"""The three layers in one process: their steps in turn inside each micro-batch of one stream from Kafka.

A purchase is published as soon as its sales are known; the tables are written behind it. Nothing is at risk by that
order: what dies unwritten is read from Kafka again and published under higher revisions
(docs/decisions/0004-hot-path.md).
"""

from __future__ import annotations

import logging
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from pyspark.sql import DataFrame, SparkSession

from bronze.land import Landing
from bronze.records import bronze_rows
from bronze.schemas import SeenSchemas
from bronze.source import kafka_stream
from gold.aggregate import Aggregation
from gold.job import aggregate
from lakehouse.jobs import in_session
from lakehouse.rounds import in_rounds
from lakehouse.settings import Settings
from lakehouse.streams import Position, Stop, run
from lakehouse.topics import GoldTopics
from operate.commit_group import CommitGroup
from operate.pulse import Laps, Pulse
from operate.take_over import finish_begun
from silver.job import refine
from silver.quality import QualityLog
from silver.refine import Refinement

log = logging.getLogger("lakehouse")


def follow(spark: SparkSession, settings: Settings, stop: Stop) -> None:
    """Takes the lake over as it is, catches up layer by layer, then runs the steps together until stopped."""
    topics = GoldTopics(settings)
    finish_begun(spark, settings, topics, log.info)
    # Side by side: after a crash the sales are waiting.
    with ThreadPoolExecutor() as pool:
        coming = pool.submit(Aggregation, spark, settings, topics)
        landing, refinement = Landing(spark, settings), Refinement(spark, settings)
        schemas = SeenSchemas(spark, settings)
        aggregation = coming.result()
    quality = QualityLog(spark, settings)
    pulse = Pulse(settings)

    log.info("pipeline: silver and gold catch up with what is in the tables")
    refine(spark, settings, refinement, quality, stop, once=True)
    aggregate(spark, settings, aggregation, (aggregation.upsert,), stop, once=True)

    group = CommitGroup(landing, refinement, aggregation, quality, pulse, settings)

    def step(batch: DataFrame, end: Position) -> None:
        with group.lock:
            take_in(batch, end)

    def take_in(batch: DataFrame, end: Position) -> None:
        now, laps = landing.after_all_before(datetime.now(UTC)), Laps()
        judged = refinement.judge(bronze_rows(batch, now, landing.shift))
        if judged.unknown_schemas:
            group.write()  # the registry may be away for long
            if schemas.keep(judged.unknown_schemas, stop, pulse.waiting):
                judged.release()
                judged = refinement.judge(bronze_rows(batch, now, landing.shift))
        landing.check_topics()
        laps.end("judge")
        change = aggregation.revise(judged.purchases, refinement.version, now)
        laps.end("revise")
        aggregation.publish(change)
        laps.end("publish")
        group.add(judged, change, end)
        pulse.beat(judged, change, end, laps.lasted_s, quality.warnings)
        group.write_if_due()

    if not stop.is_set():
        log.info("pipeline: running")
        pulse.ready(landing.start)
        rounds = in_rounds((aggregation.upsert, quality.write), settings.round_s, stop)
        with rounds, group.written_in_time(stop):
            run("pipeline", kafka_stream(spark, settings, landing.start), step, settings, stop, once=False)


if __name__ == "__main__":
    sys.exit(in_session("pipeline", ("bronze", "silver", "gold"), follow))
