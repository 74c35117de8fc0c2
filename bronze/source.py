"""Where the raw records come from, and how far they are read: Kafka partitions and offsets."""

from __future__ import annotations

import json
import time

from pyspark.sql import DataFrame, SparkSession

from lakehouse.errors import ServiceError
from lakehouse.kafka_access import for_spark
from lakehouse.offsets import Held, Offsets, held_offsets
from lakehouse.settings import Settings

# Kafka's client asks a broker that has died for its offsets until this has passed, though another leads by then; Spark
# asks anew with a new client. By default that is a minute, three times.
_OFFSETS_WITHIN_MS, _OFFSETS_RETRIES = 10_000, 18


def wait_for_topics(settings: Settings, timeout_s: float = 60.0) -> Held:
    """What the broker holds, as soon as it is up and has the topics.

    :raises ServiceError: not in time; says what is missing.
    """
    end_s = time.monotonic() + timeout_s
    while True:
        try:
            return held_offsets(settings)
        except ServiceError:
            if time.monotonic() > end_s:
                raise
            time.sleep(0.2)


def kafka_stream(spark: SparkSession, settings: Settings, start: Offsets) -> DataFrame:
    """The committed records of both topics from these offsets on."""
    return (
        spark.readStream.format("kafka")
        .options(**for_spark(settings))
        .option("groupIdPrefix", "lakehouse-spark")
        .option("subscribe", ",".join(start))
        .option("startingOffsets", json.dumps(start))
        .option("kafka.isolation.level", "read_committed")
        .option("kafka.request.timeout.ms", _OFFSETS_WITHIN_MS)
        .option("kafka.default.api.timeout.ms", _OFFSETS_WITHIN_MS)
        .option("fetchOffset.numRetries", _OFFSETS_RETRIES)
        .option("failOnDataLoss", "true")
        .option("includeHeaders", "true")
        .option("maxOffsetsPerTrigger", settings.max_batch_rows)
        .load()
    )
