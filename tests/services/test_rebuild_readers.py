"""Readers of gold's topics survive a rebuild: one that keeps the highest revision of each key, and PostgreSQL."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pydantic import SecretStr
from pyspark.sql import SparkSession

from lakehouse import commits
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from lakehouse.tables import GOLD_CUSTOMER_VALUE, GOLD_ORDERS, GOLD_PRODUCT_SALES
from lakehouse.topics import GoldTopics
from lakehouse.values import frame_of_rows
from lakehouse.wire import to_json, to_key
from operate.rebuild import rebuild
from operate.served import served_counts
from operate.services.kafka import KafkaBroker
from operate.services.postgres import PostgresServer
from serving import example_consumer
from tests.builders import event, purchase, records
from tests.flow.repairs import STRICT, with_rule
from tests.flow.steps import Lake, keep_only
from tests.gold_rows import AT, customer, sale
from tests.postgres_server import database_in
from tests.services.sinks import serving, wait_until_served
from tests.services.store import committed, own_name, store_in


@pytest.fixture
def settings(kafka_broker: KafkaBroker, postgres: PostgresServer, tmp_path: Path) -> Settings:
    dsn = SecretStr(database_in(postgres, own_name(tmp_path)))
    return store_in(kafka_broker, tmp_path).model_copy(update={"postgres_dsn": dsn, "round_s": 3600.0})


# Over 30 s: a rebuild of silver and gold.
def test_what_readers_have_is_gold_after_a_rebuild_under_other_rules(
    spark: SparkSession, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_only(monkeypatch, GOLD_ORDERS)
    large = purchase(event_time="2019-10-01 09:00:00 UTC", product_id=77, price="4.00", note="x" * 200)
    topics = GoldTopics(settings)
    lake = Lake(spark, settings, topics)  # type: ignore[arg-type]  # real Kafka, where flow tests have a list
    with serving(settings):
        lake.land(records([purchase(price="1.00"), large, purchase(price="1.00"), event()]))
        lake.refine()
        lake.aggregate()
        lake.keep()
        wait_until_served(settings)
        before = served_counts(settings)

        strict = with_rule(lake, STRICT)
        rebuild("silver", spark, strict.settings, topics, False, lambda _line: None, Stop())
        strict.land(records([purchase(user_id=2, price="3.00")], first_offset=10))
        strict.refine()
        strict.aggregate()
        strict.keep()
        wait_until_served(settings)
        after = served_counts(settings)
    for counts in (before, after):
        assert [name for name, count in counts.items() if name.startswith("broken_") and count] == []
    assert [(row["units"], str(row["revenue"])) for row in strict.sales().values()] == [(2, "4.00")]
    example_consumer.newest.clear()
    for record in committed(settings, GOLD_PRODUCT_SALES.topic(settings)):
        example_consumer.take(record.key() or b"", record.value(), dict(record.headers() or []))  # type: ignore[arg-type]
    gold = {to_key(*key): to_json(row) for key, row in strict.sales().items()}
    read = {key: to_json(row) for key, (_, row) in example_consumer.newest.items() if row is not None}
    assert read == gold


def test_what_is_committed_and_not_published_yet_is_waited_for_and_then_missed(
    spark: SparkSession, settings: Settings
) -> None:
    """A slower table commits a round, then publishes it; an audit may come between. A sale is published first."""

    def counts(late_before_s: float) -> dict[str, int]:
        found = served_counts(settings, late_before_s)
        return {name: count for name, count in found.items() if count and name != "rows"}

    topics = GoldTopics(settings)
    with serving(settings):
        commits.create_tables(spark, (GOLD_CUSTOMER_VALUE, GOLD_PRODUCT_SALES), settings)
        for revision, rows in ((1, [customer(1, 1), customer(2, 1), customer(3, 1)]), (2, [customer(1, 2)])):
            frame = frame_of_rows(spark, rows, GOLD_CUSTOMER_VALUE.schema)
            note = {"revision": revision, "published": revision - 1, "gone": [[3]] if revision == 2 else []}
            write = commits.append if revision == 1 else commits.overwrite
            write(frame, GOLD_CUSTOMER_VALUE, settings, note)
            if revision == 1:
                topics.publish(GOLD_CUSTOMER_VALUE, rows)
        wait_until_served(settings)
        # Of revision 2: one row is not served yet, one has gone, of which that was said, and one of which it was not.
        assert counts(late_before_s=0.0) == {"waiting": 2, "broken_unknown": 1}
        assert counts(time.time() + 1) == {"broken_other": 1, "broken_unknown": 2}
        topics.publish(GOLD_CUSTOMER_VALUE, [customer(1, 2)])
        topics.withdraw(GOLD_CUSTOMER_VALUE, [(2,), (3,)], 2)
        topics.publish(GOLD_PRODUCT_SALES, [sale(7, AT, revision=9)])
        wait_until_served(settings)
        assert counts(late_before_s=0.0) == {"ahead": 1}
        assert counts(time.time() + 1) == {"ahead": 1, "broken_ahead": 1}
