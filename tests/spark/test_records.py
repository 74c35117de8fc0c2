"""What bronze keeps of a record, and what silver reads from it."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.testing import assertDataFrameEqual

from bronze.records import bronze_rows
from lakehouse.schemas import BRONZE_EVENTS, SILVER_EVENTS, SILVER_QUARANTINE
from lakehouse.settings import Settings
from silver.events import EVENT, read_records
from silver.rows import event_rows, quarantine_rows
from tests.builders import INGESTED_AT, KAFKA_AT, MISSING, bronze_frame, event, record, records
from tests.identity_by_hand import id_of

KAFKA_SOURCE = (
    "key binary, value binary, topic string, partition int, offset bigint, timestamp timestamp, timestampType int, "
    "headers array<struct<key: string, value: binary>>"
)


def test_bronze_keeps_every_byte_of_a_record(spark: SparkSession) -> None:
    values = [None, b"", b"\x00\xff\xfe", bytes(range(256)), b'{"price": 5.10}', b"x" * 2_000_000]
    headers = [None, [], [("paid", b"\xff"), ("paid", None)]]
    source = spark.createDataFrame(
        [
            (value, value, "store-events", 3, offset, KAFKA_AT, 1, headers[offset % 3])
            for offset, value in enumerate(values)
        ],
        KAFKA_SOURCE,
    )
    expected = spark.createDataFrame(
        [
            (value, value, headers[offset % 3], "store-events", 3, offset, KAFKA_AT, INGESTED_AT, INGESTED_AT.date())
            for offset, value in enumerate(values)
        ],
        BRONZE_EVENTS,
    )
    assertDataFrameEqual(bronze_rows(source, INGESTED_AT), expected, rtol=0, atol=0)


def test_offsets_of_a_later_life_follow_and_a_producers_stamp_is_not_the_time_it_came(spark: SparkSession) -> None:
    by_broker, by_producer = 1, 0
    source = spark.createDataFrame(
        [
            (None, None, topic, partition, offset, KAFKA_AT, stamped, None)
            for topic, partition, offset, stamped in (
                ("store-events", 0, 0, by_broker),
                ("store-events", 1, 5, by_producer),
                ("store-events", 2, 7, by_broker),
                ("other", 0, 0, by_producer),
            )
        ],
        KAFKA_SOURCE,
    )
    rows = bronze_rows(source, INGESTED_AT, {"store-events": {"0": 330, "1": -2}}).collect()
    assert [row.offset for row in rows] == [330, 3, 7, 0]
    assert [row.kafka_at.replace(tzinfo=UTC) for row in rows] == [KAFKA_AT, INGESTED_AT, KAFKA_AT, INGESTED_AT]


def test_an_event_has_typed_values_and_nulls_where_nothing_was_given(spark: SparkSession, settings: Settings) -> None:
    full = event(
        event_time="2019-10-31T23:59:59.123456+01:00",
        category_id=9007199254740993,  # 2^53 + 1: a float would make it even
        category_code=" furniture.bathroom ",
        price="05.1",
    )
    bare = event(category_id=None, category_code="", brand=" ", user_session=MISSING)
    rows = read_records(bronze_frame(spark, records([full, bare])), settings).withColumn("verdict", F.lit("new"))
    expected = spark.createDataFrame(
        [
            (
                id_of(records([full])[0].value or b""),
                None,
                datetime(2019, 10, 31, 22, 59, 59, 123456, tzinfo=UTC),
                datetime(2019, 10, 31, tzinfo=UTC).date(),
                "view",
                5773203,
                9007199254740993,
                "furniture.bathroom",
                "runail",
                Decimal("5.10"),
                463240011,
                "26dd6e6e-4dac-4778-8d2c-92e149dab885",
                None,
                "store-events",
                0,
                0,
                KAFKA_AT,
                INGESTED_AT,
            ),
            (
                id_of(records([bare])[0].value or b""),
                None,
                datetime(2019, 10, 1, tzinfo=UTC),
                datetime(2019, 10, 1, tzinfo=UTC).date(),
                "view",
                5773203,
                None,
                None,
                None,
                Decimal("2.62"),
                463240011,
                None,
                None,
                "store-events",
                0,
                1,
                KAFKA_AT,
                INGESTED_AT,
            ),
        ],
        SILVER_EVENTS,
    )
    assertDataFrameEqual(event_rows(rows, INGESTED_AT), expected, rtol=0, atol=0)


def test_text_is_composed_and_nothing_else_is_done_to_it(spark: SparkSession, settings: Settings) -> None:
    frame = bronze_frame(spark, records([event(brand="este\u0301e\u00a0 LAUDER", user_session="A\u030a")]))
    (row,) = read_records(frame, settings).select("brand", "user_session").collect()
    assert tuple(row) == ("est\u00e9e\u00a0 LAUDER", "\u00c5")


def test_unknown_fields_are_kept_as_json_text(spark: SparkSession, settings: Settings) -> None:
    extra = {
        "Brand": "other",
        "coupon": {"code": "X", "off": [1, 2]},
        "amount": 5,
        "empty": "",
        "none": None,
        "ok": True,
    }
    frame = bronze_frame(spark, records([event(**extra), event()]))
    rows = read_records(frame, settings).orderBy("offset").select("extras", "brand").collect()
    assert [row.extras for row in rows] == [
        {
            "Brand": "other",
            "coupon": '{"code":"X","off":[1,2]}',
            "amount": "5",
            "empty": "",
            "none": None,
            "ok": "true",
        },
        None,
    ]
    assert [row.brand for row in rows] == ["runail", "runail"]


def test_a_refused_record_keeps_its_bytes_its_place_and_its_reasons(spark: SparkSession, settings: Settings) -> None:
    refused = [
        record(b"\xff\x00", 7, partition=2),
        record(None, 8, topic="store-events-unreadable"),
    ]
    read = read_records(bronze_frame(spark, [*refused, record(event(), 9)]), settings)
    judged = read.withColumn("verdict", F.lit("new"))
    expected = spark.createDataFrame(
        [
            (b"\xff\x00", "store-events", 2, 7, KAFKA_AT, ["invalid_utf8"], INGESTED_AT, None),
            (None, "store-events-unreadable", 0, 8, KAFKA_AT, ["unreadable", "empty_value"], INGESTED_AT, None),
        ],
        SILVER_QUARANTINE,
    )
    assertDataFrameEqual(quarantine_rows(judged, INGESTED_AT), expected, rtol=0, atol=0)


def test_reading_adds_the_events_columns_and_changes_none_of_the_records(
    spark: SparkSession, settings: Settings
) -> None:
    frame = bronze_frame(spark, records([event(), b"no json", None]))
    read = read_records(frame, settings)
    assert read.columns == [*BRONZE_EVENTS.fieldNames(), *EVENT, "reasons"]
    assertDataFrameEqual(read.select(*frame.columns), frame, rtol=0, atol=0)
