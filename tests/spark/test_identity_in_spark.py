"""Spark's expression of event identity gives the ids that are written in the list of golden vectors."""

from __future__ import annotations

from pyspark.sql import SparkSession

from lakehouse.settings import Settings
from silver.events import read_records
from tests.builders import bronze_frame, event, records
from tests.identity_by_hand import GOLDEN, SAME, json_of


def test_spark_gives_every_golden_event_the_id_that_is_written_there(spark: SparkSession, settings: Settings) -> None:
    frame = bronze_frame(spark, records(json_of(golden) for golden in GOLDEN))
    rows = read_records(frame, settings).orderBy("offset").select("event_id", "reasons").collect()
    assert [(golden.name, row.event_id, row.reasons) for golden, row in zip(GOLDEN, rows, strict=True)] == [
        (golden.name, golden.event_id, []) for golden in GOLDEN
    ]


def test_a_refused_record_has_no_id(spark: SparkSession, settings: Settings) -> None:
    frame = bronze_frame(spark, records([event(brand="runail", price="5.10"), event(price="5.101")]))
    rows = read_records(frame, settings).orderBy("offset").select("event_id").collect()
    assert [row.event_id for row in rows] == [SAME, None]
