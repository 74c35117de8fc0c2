"""A table's digest is that of its rows and of nothing else; the audit recounts what a replay rests on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from delta.tables import DeltaTable
from deltalake import write_deltalake
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from lakehouse import commits
from lakehouse.settings import Settings
from lakehouse.tables import (
    BRONZE_EVENTS,
    GOLD_PRODUCT_SALES,
    SILVER_DUPLICATES,
    SILVER_EVENTS,
    SILVER_QUARANTINE,
    Table,
)
from operate.audit import Finding, audit
from operate.content import Content, content_hash
from tests.builders import event, purchase, records
from tests.flow.steps import SILVER, Lake

NOT_ASCII = "este\u0301e \0 💄"
EVENTS = [
    *(purchase(user_id=n, product_id=n, price=f"{n}.10", brand=None if n % 2 else NOT_ASCII) for n in range(1, 6)),
    event(event_time="2019-11-02 10:00:00.000001 UTC", coupon="A", agent={"os": None}, source=None),
    event(event_time="2019-11-02 10:00:01 UTC", category_id=None, category_code="-", user_session=None),
]
REFUSED = [None, b"", b"\xff{", b"[1]", event(price="free", user_id=None), b"[1]"]
LANDED = [*EVENTS, *REFUSED, EVENTS[0], EVENTS[0], EVENTS[5]]
TABLES = (*SILVER, GOLD_PRODUCT_SALES)


def finding(lake: Lake) -> Finding:
    return next(found for found in audit(lake.settings) if found.promise == "P4")


def contents(lake: Lake) -> dict[str, Content]:
    return {table.name: content_hash(table, lake.settings) for table in TABLES}


def refine(lake: Lake, *batches: list) -> Lake:
    refinement = aggregation = None
    for batch in batches:
        lake.land(batch)
        refinement = lake.refine(refinement)
        aggregation = lake.aggregate(aggregation)
    return lake


@pytest.fixture(scope="module")
def refined(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """All records, read in one batch. Not to be changed: copies of it are."""
    home = tmp_path_factory.mktemp("refined")
    return refine(Lake(spark, Settings(home=home, recent_s=60, recent_rows=1000)), records(LANDED))


def test_the_same_records_in_other_batches_and_another_order_give_the_same_digests(refined: Lake, lake: Lake) -> None:
    at_their_places = records(LANDED)
    refine(lake, at_their_places[::-2], at_their_places[-2::-2])
    assert lake.rows(SILVER_EVENTS, "offset") != refined.rows(SILVER_EVENTS, "offset"), "their places are volatile"
    assert contents(lake) == contents(refined)
    assert [content.rows for content in contents(lake).values()] == [7, 3, 6, 5]
    assert content_hash(SILVER_EVENTS, lake.settings, as_of=0) == Content(0, "0" * 32)

    found = finding(lake)
    assert found.holds and found.counts == finding(refined).counts
    assert found.counts == {
        "events": 7,
        "broken_ids": 0,
        "broken_copies": 0,
        "broken_twice": 0,
        **{f"digest_{name}": content.digest for name, content in contents(lake).items()},
    }


# A row of silver.events as SQL; then what may be otherwise in it without and with another content.
ROW = {
    "event_id": "repeat('a', 32)",
    "event_at": "timestamp_micros(1569888000000000)",
    "event_on": "'2019-10-01'",
    "event_type": "'view'",
    "product_id": "1",
    "category_code": "'ab'",
    "price": "2.62",
    "user_id": "7",
    "extras": "map('x', '1', 'y', NULL)",
    "topic": "'t'",
    "offset": "5",
}
SAME = [
    {"offset": "6", "topic": "'u'"},
    {"processed_at": "now()", "kafka_at": "now()"},
    {"extras": "map('y', NULL, 'x', '1')"},
]
OTHER = [
    {"price": "2.63"},
    {"event_at": "timestamp_micros(1569888000000001)"},
    {"category_code": "''"},
    {"category_code": "NULL"},
    {"category_code": "NULL", "brand": "'ab'"},
    {"category_code": "'a'", "brand": "'b'"},
    {"category_code": "concat('ab', char(0))"},
    {"extras": "map('x', '2', 'y', NULL)"},
    {"extras": "map('x', '1', 'y', '')"},
    {"extras": "map('x', '1', 'y', '-')"},
    {"extras": "map('x', '1')"},
    {"extras": "NULL"},
    {"extras": "map()"},
]


def row(spark: SparkSession, table: Table, values: dict[str, str]) -> pa.Table:
    columns = [
        F.expr(values.get(field.name, "NULL")).cast(field.dataType).alias(field.name) for field in table.schema.fields
    ]
    found = spark.range(1).select(*columns).toArrow()
    return found.cast(pa.schema([field.with_nullable(True) for field in found.schema]))


def contents_of(table: Table, settings: Settings, tables: list[pa.Table]) -> list[Content]:
    """The content of a table that has only these rows, then only the next ones, and so on."""
    found = []
    for rows in tables:
        write_deltalake(table.path(settings), rows, mode="overwrite")
        found.append(content_hash(table, settings))
    return found


def test_every_stable_value_counts_and_no_volatile_one(spark: SparkSession, settings: Settings) -> None:
    rows = [row(spark, SILVER_EVENTS, ROW | changed) for changed in ({}, *SAME, *OTHER)]
    doubled = pa.concat_tables([rows[0]] * 2)
    base, *found, of_two, of_four = contents_of(
        SILVER_EVENTS, settings, [*rows, doubled, pa.concat_tables([doubled] * 2)]
    )
    assert found[: len(SAME)] == [base] * len(SAME)
    others = [content.digest for content in found[len(SAME) :]]
    assert len({base.digest, *others, of_two.digest, of_four.digest, "0" * 32}) == len(OTHER) + 4
    assert (base.rows, of_two.rows, of_four.rows) == (1, 2, 4)


def test_quarantine_counts_bytes_and_reasons_but_not_its_history(spark: SparkSession, settings: Settings) -> None:
    refused = {"value": "X'FF00'", "reasons": "array('ab', 'c')", "offset": "1"}
    taken_out = refused | {"replayed_at": "now()"}
    changes = [
        {},
        {"value": "X'FF'"},
        {"value": "CAST('FF00' AS BINARY)"},
        {"value": "X''"},
        {"value": "NULL"},
        {"reasons": "array('a', 'bc')"},
        {"reasons": "array('ab')"},
        {"offset": "2"},
    ]
    rows = [row(spark, SILVER_QUARANTINE, refused | changed) for changed in changes]
    found = contents_of(
        SILVER_QUARANTINE, settings, [*rows, pa.concat_tables([rows[0], row(spark, SILVER_QUARANTINE, taken_out)])]
    )
    assert len({content.digest for content in found[:-1]}) == len(changes)
    assert found[-1] == found[0]


def test_headers_of_bronze_are_content_too(spark: SparkSession, settings: Settings) -> None:
    found = contents_of(
        BRONZE_EVENTS,
        settings,
        [
            row(spark, BRONZE_EVENTS, {"headers": headers})
            for headers in ("array(struct('a', X'00'))", "array(struct('a', NULL))", "array(NULL)", "array()", "NULL")
        ],
    )
    assert len({content.digest for content in found}) == 5


def test_a_column_that_a_table_gets_later_changes_no_digest_until_it_has_a_value(refined: Lake, tmp_path: Path) -> None:
    lake = refined.copy(tmp_path / "copy")
    before = content_hash(SILVER_DUPLICATES, lake.settings)
    schema = StructType([*SILVER_DUPLICATES.schema.fields, StructField("told_by", StringType())])
    wider = replace(SILVER_DUPLICATES, schema=schema)
    assert content_hash(wider, lake.settings) == before
    lake.spark.sql(f"ALTER TABLE delta.`{wider.path(lake.settings)}` ADD COLUMN told_by STRING")
    assert content_hash(wider, lake.settings) == before
    delta(lake, wider).update("offset = 13", {"told_by": "'x'"})
    assert content_hash(wider, lake.settings) != before


def test_the_audit_is_red_when_a_row_is_not_what_its_record_said(refined: Lake, tmp_path: Path) -> None:
    lake = refined.copy(tmp_path / "copy")
    seen = [finding(lake)]
    assert seen[0].holds

    def broken_after(change: Callable[[], object]) -> tuple[int, int, int]:
        change()
        note_the_newest_versions(lake)
        seen.append(finding(lake))
        assert not seen[-1].holds and seen[-1].counts not in [found.counts for found in seen[:-1]]
        counts = seen[-1].counts
        return counts["broken_ids"], counts["broken_copies"], counts["broken_twice"]

    events, copies = delta(lake, SILVER_EVENTS), delta(lake, SILVER_DUPLICATES)
    assert broken_after(lambda: events.update("price = 3.10", {"price": "3.11"})) == (1, 0, 0)
    assert broken_after(lambda: events.update("category_code = '-'", {"event_id": "NULL"})) == (2, 0, 0)
    assert broken_after(lambda: events.delete("extras IS NOT NULL")) == (2, 1, 0)
    assert broken_after(lambda: copies.update("offset = 13", {"offset": "0"})) == (2, 1, 1)


def test_where_a_producers_own_id_is_the_id_the_hash_is_kept_beside_it(refined: Lake, tmp_path: Path) -> None:
    lake = refined.copy(tmp_path / "copy")
    if "content_id" not in SILVER_EVENTS.schema.fieldNames():
        lake.spark.sql(f"ALTER TABLE delta.`{SILVER_EVENTS.path(lake.settings)}` ADD COLUMN content_id STRING")
    own = {"content_id": "event_id", "event_id": "'order-7'"}
    delta(lake, SILVER_EVENTS).update("offset = 1", own)
    note_the_newest_versions(lake)
    assert finding(lake).holds
    delta(lake, SILVER_EVENTS).update("offset = 1", {"price": "9.99"})
    note_the_newest_versions(lake)
    assert finding(lake).counts["broken_ids"] == 1


def delta(lake: Lake, table: Table) -> DeltaTable:
    return DeltaTable.forPath(lake.spark, table.path(lake.settings))


def note_the_newest_versions(lake: Lake) -> None:
    """As a writer would: the audit looks at the versions that the newest note names."""
    beside = {table.name: lake.version(table) for table in (SILVER_DUPLICATES, SILVER_QUARANTINE)}
    none = commits.read_table(lake.spark, SILVER_EVENTS, lake.settings).where("false")
    commits.append(none, SILVER_EVENTS, lake.settings, lake.note(SILVER_EVENTS) | {"beside": beside})
