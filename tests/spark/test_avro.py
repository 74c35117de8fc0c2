"""Records in Avro: read by the schema that they were written with, and judged as JSON is."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from bronze.land import count_by_partition
from ingest.event_wire import AvroWire, framed
from lakehouse.settings import Settings
from silver.events import read_records
from tests.any_bytes import few
from tests.avro import TYPED, V1, by_schema, in_avro, with_field
from tests.builders import TOPIC, bronze_frame, event, record, records
from tests.identity_by_hand import GOLDEN, json_of

COUPON = with_field(V1, name="coupon", type=["null", "string"], default=None)
REGISTRY = Settings(registry_url="http://registry")


def read(spark: SparkSession, values: list[bytes | None], schemas: dict[int, str], settings: Settings) -> list[Any]:
    return read_records(bronze_frame(spark, records(values)), settings, schemas).orderBy("offset").collect()


def reasons(spark: SparkSession, values: list[bytes | None], schemas: dict[int, str], settings: Settings) -> list[Any]:
    return [row.reasons for row in read(spark, values, schemas, settings)]


def test_an_event_has_the_same_id_in_avro_as_in_json(spark: SparkSession, settings: Settings) -> None:
    values = [value or b"" for value in AvroWire(3)([json_of(golden) for golden in GOLDEN])]
    assert sum(value[0] == 0 for value in values) == len(GOLDEN) - 3
    rows = read(spark, values, {3: V1}, settings)
    assert [(golden.name, row.event_id, row.reasons) for golden, row in zip(GOLDEN, rows, strict=True)] == [
        (golden.name, golden.event_id, []) for golden in GOLDEN
    ]


def test_each_record_is_read_by_its_own_schema_and_a_new_field_is_in_extras(
    spark: SparkSession, settings: Settings
) -> None:
    renamed = json.dumps(json.loads(V1) | {"fields": list(reversed(json.loads(V1)["fields"]))})
    values: list[bytes | None] = [
        in_avro(event(), 1),
        by_schema(COUPON, TYPED | {"coupon": "SPRING"}, 2),
        by_schema(COUPON, TYPED, 2),
        by_schema(renamed, TYPED, 2**32 - 1),
        json.dumps(event(coupon="SPRING")).encode(),
    ]
    rows = read(spark, values, {1: V1, 2: COUPON, 2**32 - 1: renamed}, settings)
    assert [row.reasons for row in rows] == [[]] * 5
    assert [row.extras for row in rows] == [None, {"coupon": "SPRING"}, {"coupon": None}, None, {"coupon": "SPRING"}]
    assert rows[0].event_id == rows[4].event_id
    assert rows[1].event_id == rows[2].event_id == rows[3].event_id
    assert (rows[3].price, rows[3].event_at) == (Decimal("2.62"), rows[1].event_at)


def test_fields_of_every_type_keep_their_values(spark: SparkSession, settings: Settings) -> None:
    money = {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 18}
    fields: list[tuple[str, Any, Any, str | None]] = [
        ("exact", money, Decimal("12345678901234567890.123456789012345678"), "12345678901234567890.123456789012345678"),
        ("large", "long", 2**63 - 1, "9223372036854775807"),
        ("share", "double", 0.1, "0.1"),
        ("yes", "boolean", True, "true"),
        ("bytes", "bytes", b"\xff\x00", "/wA="),
        ("kind", {"type": "enum", "name": "Kind", "symbols": ["A", "B"]}, "B", "B"),
        ("day", {"type": "int", "logicalType": "date"}, date(2019, 10, 1), "2019-10-01"),
        (
            "at",
            {"type": "long", "logicalType": "timestamp-micros"},
            datetime(2019, 10, 1, 0, 0, 0, 1, UTC),
            "2019-10-01T00:00:00.000001Z",
        ),
        (
            "local",
            {"type": "long", "logicalType": "local-timestamp-micros"},
            datetime(2019, 10, 1, 0, 0, 0, 1),  # noqa: DTZ001 (it has no zone)
            "2019-10-01T00:00:00.000001",
        ),
        ("small", money, Decimal("0.000000000000000001"), "0.000000000000000001"),
        ("tags", {"type": "array", "items": ["null", "string"]}, ["a", None, 'b"'], '["a",null,"b\\""]'),
        ("counts", {"type": "map", "values": "long"}, {"k": 2**53 + 1}, '{"k":9007199254740993}'),
        (
            "place",
            {"type": "record", "name": "Place", "fields": [{"name": "of", "type": ["null", money]}]},
            {"of": Decimal("0.5")},
            '{"of":0.500000000000000000}',
        ),
        ("Brand", "string", "not brand", "not brand"),
    ]
    schema = V1
    for name, kind, _, _ in fields:
        schema = with_field(schema, name=name, type=kind)
    value = by_schema(schema, TYPED | {name: given_ for name, _, given_, _ in fields}, 1)
    (row,) = read(spark, [value], {1: schema}, settings)
    assert row.reasons == []
    assert row.extras == {name: text for name, _, _, text in fields}


def test_the_rules_are_those_of_json(spark: SparkSession, settings: Settings) -> None:
    own_id = with_field(V1, name="event_id", type="string")
    bare = json.dumps({"type": "record", "name": "Bare", "fields": [{"name": "brand", "type": "string"}]})
    values: list[bytes | None] = [
        by_schema(V1, TYPED | {"event_type": "look", "event_time": datetime(2014, 1, 1, tzinfo=UTC)}, 1),
        by_schema(V1, TYPED | {"event_type": ""}, 1),
        by_schema(own_id, TYPED | {"event_id": "mine"}, 2),
        by_schema(bare, {"brand": "x"}, 3),
    ]
    rows = read(spark, values, {1: V1, 2: own_id, 3: bare}, settings)
    assert [row.reasons for row in rows] == [
        ["event_time_before_2015", "unknown_event_type"],
        ["missing_event_type"],
        [],
        ["missing_event_time", "missing_event_type", "missing_product_id", "missing_price", "missing_user_id"],
    ]
    assert rows[2].event_id == "mine"


def test_a_schema_that_nobody_has_is_told_from_no_registry(spark: SparkSession, settings: Settings) -> None:
    values: list[bytes | None] = [in_avro(event(), 1), in_avro(event(), 9), b"\x00\x00\x00\x00\x09", b"\x00{}"]
    assert reasons(spark, values, {1: V1}, REGISTRY) == [[], ["unknown_schema"], ["not_json"], ["not_json"]]
    assert reasons(spark, values, {1: V1}, settings) == [[], ["no_registry"], ["not_json"], ["not_json"]]
    assert reasons(spark, values, {}, settings) == [["no_registry"], ["no_registry"], ["not_json"], ["not_json"]]


def test_what_does_not_fit_its_schema_is_refused(spark: SparkSession, settings: Settings) -> None:
    good = in_avro(event(), 1)
    long = by_schema(V1, TYPED | {"brand": "x" * 200}, 1)
    values: list[bytes | None] = [good, good[:-1], good + b"\x00", good[:5] + b"\xff" * 30, good[:6]]
    values += [good.replace(b"runail", b"run\xffil"), long]
    assert reasons(spark, values, {1: V1}, settings.model_copy(update={"max_value_bytes": 200})) == [
        [],
        *[["unreadable_avro"]] * 4,
        ["invalid_utf8"],
        ["too_large"],
    ]


def test_a_length_that_cannot_be_asks_for_no_memory(spark: SparkSession, settings: Settings) -> None:
    tags = with_field(V1, name="tags", type={"type": "array", "items": "null"})
    values: list[bytes | None] = []
    for length in (2**31 - 9, 900_000_000, -5):
        values += [framed(1, b"\x00" + _varint(length) + b"abc")]  # event_time 0, then event_type
        values += [by_schema(V1, TYPED, 2) + _varint(length) + b"\x00"]
    assert reasons(spark, values, {1: V1, 2: tags}, settings) == [["unreadable_avro"]] * 6


UNUSABLE = (
    '"string"',  # no record
    '{"type": "record", "name": "Nothing", "fields": []}',
    '{"type": "object"}',  # JSON Schema
    'syntax = "proto3";',
    "",
    '{"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}',
    '{"type": "record", "name": "Half", "fields": [{"name": "of", "type": "elsewhere.Missing"}]}',
)


def test_schemas_that_cannot_be_used_stop_nothing(spark: SparkSession, settings: Settings) -> None:
    """Among good ones, and where no schema can be used."""
    schemas = dict(enumerate(UNUSABLE, 2))
    bad: list[bytes | None] = [in_avro(event(), number) for number in schemas]
    values = [in_avro(event(), 1), *bad, json.dumps(event()).encode()]
    assert reasons(spark, values, {1: V1} | schemas, settings) == [[], *[["unreadable_avro"]] * len(bad), []]
    assert reasons(spark, values[1:], schemas, settings) == [*[["unreadable_avro"]] * len(bad), []]


NESTED = (
    ('{"type": "array", "items": ', "}"),
    ('{"type": "record", "name": "R%d", "fields": [{"name": "f", "type": ', "}]}"),
    ("[", "]"),  # JSON alone
)


def test_a_schema_of_any_depth_stops_nothing(spark: SparkSession, settings: Settings) -> None:
    schemas = {}
    for depth in (100, 500, 2_000, 100_000):
        for begin, end in NESTED:
            nested = "".join(begin.replace("%d", str(level)) for level in range(depth)) + '"int"' + end * depth
            deep = f'{{"type": "record", "name": "Deep", "fields": [{{"name": "deep", "type": {nested}}}]}}'
            schemas[2 + len(schemas)] = deep
    values: list[bytes | None] = [in_avro(event(), 1), json.dumps(event()).encode()]
    values += [framed(number, bytes(5)) for number in schemas]
    found = reasons(spark, values, {1: V1} | schemas, settings)
    assert found[:2] == [[], []] and all(found[2:])


def test_a_row_that_the_file_source_could_not_read_is_not_taken_for_avro(spark: SparkSession) -> None:
    rows = [record(b"\x00\x00\x00\x00\x01 no row", topic="store-events-unreadable"), record(in_avro(event(), 5), 1)]
    frame = bronze_frame(spark, rows)
    found = read_records(frame, REGISTRY, {1: V1}).orderBy("offset").collect()
    assert [row.reasons for row in found] == [["unreadable"], ["unknown_schema"]]
    assert count_by_partition(frame, REGISTRY) == ({("store-events-unreadable", 0): 1, (TOPIC, 0): 1}, {5})


@few(3)
@given(payloads=st.lists(st.binary(max_size=60), min_size=100, max_size=120))
def test_whatever_follows_the_header_each_record_comes_out_once(spark: SparkSession, payloads: list[bytes]) -> None:
    good = in_avro(event(), 1)
    cut = [good[: 5 + len(payload)] + payload for payload in payloads]
    values: list[bytes | None] = [framed(1 + n % 3, payload) for n, payload in enumerate(payloads)] + cut
    rows = read(spark, values, {1: V1, 2: COUPON}, REGISTRY)
    assert [row.offset for row in rows] == list(range(len(values)))
    for row in rows:
        assert (row.event_id is None) == bool(row.reasons)
        assert "not_json" not in row.reasons or len(row.value) <= 5


def test_without_avro_nothing_of_it_is_in_the_plan(spark: SparkSession, settings: Settings) -> None:
    frame = bronze_frame(spark, records([event()]))
    assert "avro" not in _plan(read_records(frame, settings)).lower()
    assert "from_avro" in _plan(read_records(frame, settings, {1: V1})).lower()


def _plan(frame: DataFrame) -> str:
    return str(frame._jdf.queryExecution().optimizedPlan().toString())


def _varint(number: int) -> bytes:
    """An integer as Avro writes it."""
    rest, written = (number << 1) ^ (number >> 63), b""
    while rest > 0x7F:
        written += bytes([rest & 0x7F | 0x80])
        rest >>= 7
    return written + bytes([rest])
