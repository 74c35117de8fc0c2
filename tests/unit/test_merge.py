"""Records of gold topics as the sink reads them: what gold has written comes through, and nothing else does."""

from __future__ import annotations

import itertools
import json
from datetime import date
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from lakehouse.contract import json_schema
from lakehouse.tables import (
    GOLD_CUSTOMER_VALUE,
    GOLD_FUNNEL,
    GOLD_ORDERS,
    GOLD_PRODUCT_SALES,
    GOLD_PRODUCTS,
    PUBLISHED,
    Table,
)
from lakehouse.topics import Row, key_of
from lakehouse.wire import plain, to_json, to_key
from serving.merge import Incoming, RecordReader, UnreadableRecord, newest_of_each_key
from tests.gold_rows import AT, customer, funnel, order, product, sale

PLACE = ("topic", 0)
READERS = {table: RecordReader(table) for table in PUBLISHED}
FORMATS = jsonschema.Draft202012Validator.FORMAT_CHECKER
CONTRACTS = {table: jsonschema.Draft202012Validator(json_schema(table), format_checker=FORMATS) for table in PUBLISHED}


def read(
    table: Table, key: bytes | None, value: bytes | None, headers: dict[str, bytes | None] | None = None
) -> Incoming:
    return READERS[table].read(PLACE, 5, key, value, headers or {})


def refusal(
    table: Table, key: bytes | None, value: bytes | None, headers: dict[str, bytes | None] | None = None
) -> str:
    """Why a record is set aside."""
    with pytest.raises(UnreadableRecord) as refused:
        read(table, key, value, headers)
    return str(refused.value)


def record(table: Table, row: Row, **other: Any) -> tuple[bytes, bytes]:
    """As it is published, but for these columns, which have these values in JSON."""
    shown = {name: plain(value) for name, value in row.items()} | other
    return to_key(*key_of(row, table)), json.dumps(shown).encode()


def test_a_row_keeps_its_values_its_revision_and_its_time_of_payment() -> None:
    row = product(2**53 + 1, "Ünï \U0001f484", revision=3)
    found = read(GOLD_PRODUCTS, *record(GOLD_PRODUCTS, row), {"paid_at_us": b"1569888000000000"})
    assert (found.place, found.offset, found.key, found.revision) == (PLACE, 5, str(2**53 + 1), 3)
    assert found.paid_at_us == 1_569_888_000_000_000
    assert json.loads(found.row or "") == json.loads(to_json(row))


def test_a_tombstone_names_a_key_and_a_revision() -> None:
    found = read(GOLD_FUNNEL, b"2019-10-01|brand|a|b", None, {"revision": b"7"})
    assert (found.key, found.revision, found.row) == ("2019-10-01|brand|a|b", 7, None)


def test_nul_is_replaced_at_any_depth_and_a_backslash_before_u0000_is_not() -> None:
    line = {"event_id": "e", "product_id": 1, "price": "1.00", "extras": '{"cou\\u0000pon":"B"}'}
    placed = read(GOLD_ORDERS, *record(GOLD_ORDERS, order("o", AT, 1, lines=[line])))
    assert json.loads(placed.row or "")["lines"][0]["extras"] == {"cou\ufffdpon": "B"}
    shown = read(GOLD_PRODUCTS, *record(GOLD_PRODUCTS, product(1, "a\x00b", category_code="c\\u0000")))
    texts = json.loads(shown.row or "")
    assert (texts["brand"], texts["category_code"]) == ("a\ufffdb", "c\\u0000")
    assert read(GOLD_FUNNEL, b"2019-10-01|brand|a\x00b", None, {"revision": b"7"}).key.endswith("a\ufffdb")


@pytest.mark.parametrize(
    ("table", "row", "other"),
    [
        (GOLD_PRODUCT_SALES, sale(1, AT), {"window_start_at": "infinity"}),
        (GOLD_PRODUCT_SALES, sale(1, AT), {"window_end_at": "0001-01-01T00:00:00Z"}),
        (GOLD_PRODUCT_SALES, sale(1, AT), {"window_end_at": "2019-02-30T00:00:00Z"}),
        (GOLD_PRODUCT_SALES, sale(1, AT), {"window_end_at": "2019-10-01T00:00:00+00:00"}),
        (GOLD_PRODUCT_SALES, sale(1, AT), {"last_purchase_at": None}),
        (GOLD_PRODUCT_SALES, sale(1, AT), {"revenue": "NaN"}),
        (GOLD_PRODUCT_SALES, sale(1, AT), {"revenue": "Infinity"}),
        (GOLD_PRODUCT_SALES, sale(1, AT), {"revenue": "1.00\n"}),
        (GOLD_PRODUCT_SALES, sale(1, AT), {"revenue": "\u0661.\u0661\u0661"}),
        (GOLD_PRODUCT_SALES, sale(1, AT), {"revenue": f"{10**16}.00"}),
        (GOLD_PRODUCT_SALES, sale(1, AT), {"units": 2**63}),
        (GOLD_PRODUCT_SALES, sale(1, AT), {"units": -1}),
        (GOLD_PRODUCT_SALES, sale(1, AT), {"units": 1.0}),
        (GOLD_PRODUCT_SALES, sale(1, AT), {"units": True}),
        (GOLD_PRODUCT_SALES, sale(1, AT), {"revision": 2**63 - 1}),
        (GOLD_PRODUCT_SALES, sale(1, AT), {"product_id": 2}),
        (GOLD_PRODUCT_SALES, sale(1, AT), {"more": 1}),
        (GOLD_PRODUCTS, product(1, "x"), {"brand": "x" * 769}),
        (GOLD_PRODUCTS, product(1, "x"), {"brand": "\ud800"}),
        (GOLD_FUNNEL, funnel(AT, 1, 1, 1, 1), {"conversion": float("nan")}),
        (GOLD_FUNNEL, funnel(AT, 1, 1, 1, 1), {"conversion": float("inf")}),
        (GOLD_ORDERS, order("o", AT, 1), {"lines": [[[]]]}),
        (GOLD_ORDERS, order("o", AT, 1), {"lines": [{"event_id": "e"}]}),
        (GOLD_ORDERS, order("o", AT, 1), {"lines": {"event_id": "e"}}),
    ],
    ids=lambda each: str(each)[:40] if isinstance(each, dict) and len(each) == 1 else "",
)
def test_a_row_that_gold_could_not_have_written_is_refused(table: Table, row: Row, other: dict[str, Any]) -> None:
    read(table, *record(table, row))
    assert refusal(table, *record(table, row, **other))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"1", b"["),
        (b"1", b"[]"),
        (b"1", b"null"),
        (b"1", b'{"revision":9223372036854775807}'),
        (b"1", b"\xff"),
        (b"1", b"[" * 20_000),
        (b"1", b'{"a":' * 20_000),
        (b"1", b'{"revision":' + b"9" * 5000 + b"}"),
        (None, record(GOLD_CUSTOMER_VALUE, customer(1, 1))[1]),
        (b"\xff", record(GOLD_CUSTOMER_VALUE, customer(1, 1))[1]),
        (b"2", record(GOLD_CUSTOMER_VALUE, customer(1, 1))[1]),
        (b"x" * 9000, record(GOLD_CUSTOMER_VALUE, customer(1, 1))[1]),
        (b"1", None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_row_is_refused(key: bytes | None, value: bytes | None) -> None:
    assert refusal(GOLD_CUSTOMER_VALUE, key, value)


@pytest.mark.parametrize("revision", [b"", b"-1", b"1.0", b"\xd9\xa1", b"9223372036854775807", b"9" * 5000, None])
def test_a_tombstone_without_a_revision_that_there_can_be_is_refused(revision: bytes | None) -> None:
    assert refusal(GOLD_CUSTOMER_VALUE, b"1", None, {"revision": revision})


@pytest.mark.parametrize("key", [b"abc|1", b"2019-10-01T00:00:00Z", b"2019-10-01T00:00:00Z|01", b"x" * 9000, b"\x00|1"])
def test_a_tombstone_of_a_key_that_there_cannot_be_is_refused(key: bytes) -> None:
    assert refusal(GOLD_PRODUCT_SALES, key, None, {"revision": b"1"})
    assert read(GOLD_PRODUCT_SALES, b"2019-10-01T00:00:00Z|-1", None, {"revision": b"1"})


@pytest.mark.parametrize("paid", [b"x", b"-1", b"1", b"9" * 18, b"1e3"])
def test_a_time_of_payment_that_there_cannot_be_is_refused(paid: bytes) -> None:
    assert refusal(GOLD_CUSTOMER_VALUE, *record(GOLD_CUSTOMER_VALUE, customer(1, 1)), {"paid_at_us": paid})


CANARY = "SECRET-CANARY"


@pytest.mark.parametrize("other", [{"revenue": CANARY}, {"orders": CANARY}, {CANARY: 1}, {"refunds": {CANARY: 1}}])
def test_a_reason_has_no_value_of_the_record(other: dict[str, Any]) -> None:
    key, value = record(GOLD_CUSTOMER_VALUE, customer(424242424242, 1), **other)
    for whole_or_broken in (value, value[:-1] + CANARY.encode()):
        said = refusal(GOLD_CUSTOMER_VALUE, key, whole_or_broken)
        assert CANARY not in said and "4242" not in said


# What gold writes, by the types of its columns.

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
COUNTS, IDS = st.integers(0, 10**12), st.integers(-(2**63), 2**63 - 1)
TIMES = st.datetimes(AT.replace(tzinfo=None, year=2015), AT.replace(tzinfo=None, year=2099))


def values(field: StructField) -> st.SearchStrategy[Any]:
    found = st.just('{"coupon":"B"}') if field.metadata.get("json") else of_kind(field.name, field.dataType)
    return st.none() | found if field.metadata.get("may_be_null") else found


def of_kind(name: str, kind: DataType) -> st.SearchStrategy[Any]:
    if isinstance(kind, StructType):
        return st.fixed_dictionaries({each.name: values(each) for each in kind.fields})
    if isinstance(kind, ArrayType):
        return st.lists(of_kind(name, kind.elementType), max_size=2)
    if isinstance(kind, DecimalType):
        return st.decimals(-99_999_999, 99_999_999, places=2)
    if isinstance(kind, LongType):
        return IDS if name.endswith("_id") else COUNTS
    return {
        StringType: TEXTS,
        BooleanType: st.booleans(),
        DoubleType: st.floats(allow_nan=False, allow_infinity=False),
        TimestampType: TIMES,
        DateType: st.dates(date(2015, 1, 1), date(2099, 1, 1)),
    }[type(kind)]


ROWS = {table: st.fixed_dictionaries({each.name: values(each) for each in table.schema.fields}) for table in PUBLISHED}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | IDS
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["NaN", "infinity", "\ud800"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(st.data())
def test_what_gold_writes_comes_through(data: st.DataObject) -> None:
    table = data.draw(st.sampled_from(PUBLISHED))
    row = data.draw(ROWS[table])
    key, value = to_key(*key_of(row, table)), to_json(row)
    CONTRACTS[table].validate(json.loads(value))
    found = read(table, key, value)
    assert (found.key, found.revision) == (key.decode().replace("\x00", "\ufffd"), row["revision"])
    assert b"\\u0000" in value or json.loads(found.row or "") == json.loads(value)
    assert read(table, key, None, {"revision": b"1"}).key == found.key


@given(st.data())
def test_nothing_comes_through_but_what_keeps_its_contract(data: st.DataObject) -> None:
    """A row of which something is another thing: a column, the key, a header, some bytes."""
    table = data.draw(st.sampled_from(PUBLISHED))
    row = data.draw(ROWS[table])
    changed = data.draw(st.dictionaries(st.sampled_from(table.schema.fieldNames()), JSON, max_size=2))
    shown = {name: plain(value) for name, value in row.items()} | changed
    text = json.dumps(shown).encode()
    if data.draw(st.booleans()):
        at, gone = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, 3))
        text = text[:at] + data.draw(st.binary(max_size=3)) + text[at + gone :]
    value = data.draw(st.sampled_from([text, text, text, None, b"", b"{}"]))
    key = data.draw(st.sampled_from([to_key(*key_of(row, table)), b"", None]) | st.binary(max_size=20))
    header = st.none() | st.binary(max_size=5) | st.integers(-5, 2**70).map(lambda number: str(number).encode())
    headers = data.draw(st.dictionaries(st.sampled_from(["revision", "paid_at_us"]), header))
    try:
        found = read(table, key, value, headers)
    except UnreadableRecord:
        return
    assert key is not None and found.key == key.decode().replace("\x00", "\ufffd") and 0 <= found.revision < 2**53
    if found.row is not None:
        CONTRACTS[table].validate(json.loads(value or b""))
        CONTRACTS[table].validate(json.loads(found.row))
        assert "\\u0000" not in found.row.replace("\\\\", "") and found.row.encode()


def test_the_newest_of_each_key_is_kept_in_any_order() -> None:
    def of(revision: int, row: str | None) -> Incoming:
        return Incoming(PLACE, 0, "k", revision, row)

    for records in itertools.permutations([of(1, "a"), of(3, None), of(2, "b")]):
        (newest,) = newest_of_each_key(records)
        assert (newest.revision, newest.row) == (3, None)
