"""Which records are events, and all the rules that the others break."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from pyspark.sql import SparkSession

from lakehouse.settings import Settings
from silver.events import read_records
from silver.rejects import RULES
from tests.avro import V1, in_avro
from tests.builders import KAFKA_AT, MISSING, Fields, Record, bronze_frame, event, record

MILLION = 1_048_576
ALL_MISSING = ["missing_event_time", "missing_event_type", "missing_product_id", "missing_price", "missing_user_id"]
VALID = json.dumps(event()).encode()


class Case(NamedTuple):
    name: str
    record: Record
    reasons: list[str]


def case(name: str, value: Fields | bytes | None, *reasons: str, **place: Any) -> Case:
    return Case(name, record(value, **place), list(reasons))


def padded(size: int) -> bytes:
    """A valid event of so many bytes."""
    empty = json.dumps(event(note="")).encode()
    return json.dumps(event(note="x" * (size - len(empty)))).encode()


def with_raw(name: str, token: str) -> bytes:
    """A valid event in whose JSON this token stands for the value of a field."""
    return json.dumps(event(**{name: "@"})).replace('"@"', token).encode()


def at(moment: datetime) -> str:
    return moment.isoformat()


CASES = [
    case("a view", event()),
    case("a cart", event(event_type="cart")),
    case("a removal", event(event_type="remove_from_cart")),
    case("a purchase", event(event_type="purchase")),
    case("an id of the producer's own", event(event_id="order-7/line-1")),
    case("an id of the producer's own of 256 characters", event(event_id="x" * 256)),
    case("an id of the producer's own of 257", event(event_id="x" * 257), "bad_event_id"),
    case("an unknown field twice", with_raw("x", '1,"x":2'), "repeated_field"),
    case("a price twice", with_raw("price", '1.00,"price":2.00'), "repeated_field"),
    # The value as a whole. What else is Avro has a file of its own.
    case("Avro", in_avro(event(), 1)),
    case("Avro of a schema that is not known", in_avro(event(), 2), "unknown_schema"),
    case("Avro that its schema cannot read", in_avro(event(), 1)[:-1], "unreadable_avro"),
    case("no value", None, "empty_value"),
    case("an empty value", b"", "empty_value"),
    case("space", b"  \n ", "not_json"),
    case("plain text", b"hello", "not_json"),
    case("half an event", VALID[:-20], "not_json"),
    case("an event with a comma too many", VALID[:-1] + b",}", "not_json"),
    case("JSON null", b"null", "not_json"),
    case("a number", b"5", "not_json"),
    case("an array", b"[" + VALID + b"]", "not_json"),
    case("an empty array", b"[]", "not_json"),
    case("two objects", VALID + VALID, "not_json"),
    case("two objects, a line each", VALID + b"\n" + VALID, "not_json"),
    case("two objects, a comma between", VALID + b"," + VALID, "not_json"),
    case("text after the object", VALID + b" and so on", "not_json"),
    case("a bracket after the object", VALID + b"]", "not_json"),
    case("a bracket and another object after the object", VALID + b"] " + VALID, "not_json"),
    case("single quotes", VALID.replace(b'"', b"'"), "not_json"),
    case("nested too deep to be read", b'{"a":' * 2000 + b"1" + b"}" * 2000, "not_json"),
    case("an event between spaces", b" \n" + VALID + b"\r\n "),
    case("an empty object", b"{}", *ALL_MISSING),
    case("invalid UTF-8", VALID.replace(b"runail", b"run\xff"), "invalid_utf8"),
    case("UTF-8 cut within a sign", VALID.replace(b"runail", b"caf\xc3"), "invalid_utf8"),
    case("2 MB", padded(2 * MILLION), "too_large"),
    case("a byte too many", padded(MILLION + 1), "too_large"),
    case("the largest value", padded(MILLION)),
    case("2 MB that are no UTF-8", b"\xff" * (2 * MILLION), "too_large", "invalid_utf8"),
    case(
        "a row that the file source could not read", b"2019-10-01,view", "unreadable", topic="store-events-unreadable"
    ),
    case("an event on the topic of the unreadable", VALID, "unreadable", topic="store-events-unreadable"),
    # Fields that have to be there.
    *(
        case(f"{name} {how}", event(**{name: value}), f"missing_{name}")
        for name in ("event_time", "event_type", "product_id", "price", "user_id")
        for how, value in (("missing", MISSING), ("null", None), ("empty", ""), ("only space", " \t"))
    ),
    *(
        case(f"{name} {how}", event(**{name: value}))
        for name in ("category_id", "category_code", "brand", "user_session")
        for how, value in (("missing", MISSING), ("null", None), ("empty", ""))
    ),
    case("the key in capitals is another field", event(user_id=MISSING, USER_ID=5), "missing_user_id"),
    # event_time.
    case("a day that is not in the calendar", event(event_time="2019-02-30 00:00:00 UTC"), "bad_event_time"),
    case("month 13", event(event_time="2019-13-01 00:00:00 UTC"), "bad_event_time"),
    case("hour 25", event(event_time="2019-10-01 25:00:00 UTC"), "bad_event_time"),
    case("a time in words", event(event_time="yesterday"), "bad_event_time"),
    case("a day without a time", event(event_time="2019-10-01"), "bad_event_time"),
    case("a time as seconds since 1970", event(event_time=1569888000), "bad_event_time"),
    case("a zone that does not exist", event(event_time="2019-10-01 00:00:00+25:00"), "bad_event_time"),
    case("29 February of a leap year", event(event_time="2016-02-29 00:00:00 UTC")),
    case("the end of 2014", event(event_time="2014-12-31 23:59:59 UTC"), "event_time_before_2015"),
    case("2015 here, 2014 in UTC", event(event_time="2015-01-01T00:30:00+01:00"), "event_time_before_2015"),
    case("the begin of 2015", event(event_time="2015-01-01 00:00:00 UTC")),
    case("year 1", event(event_time="0001-01-01 00:00:00 UTC"), "event_time_before_2015"),
    case("a clock a year ahead", event(event_time=at(KAFKA_AT + timedelta(days=365))), "event_time_in_future"),
    case("year 9999", event(event_time="9999-12-31 23:59:59 UTC"), "event_time_in_future"),
    case("five minutes ahead", event(event_time=at(KAFKA_AT + timedelta(minutes=5)))),
    case(
        "a little more than that",
        event(event_time=at(KAFKA_AT + timedelta(minutes=5, microseconds=1))),
        "event_time_in_future",
    ),
    case(
        "ahead of its own record, though long ago",
        event(event_time="2019-10-01 01:00:00 UTC"),
        "event_time_in_future",
        kafka_at=datetime(2019, 10, 1, tzinfo=UTC),
    ),
    # event_type.
    case("an unknown type", event(event_type="wishlist"), "unknown_event_type"),
    case("a type in capitals", event(event_type="VIEW"), "unknown_event_type"),
    case("a type that is a number", event(event_type=1), "unknown_event_type"),
    # Whole numbers.
    *(
        case(f"{name} is {value}", event(**{name: value}), f"bad_{name}")
        for name in ("product_id", "category_id", "user_id")
        for value in ("abc", "1.5", "9223372036854775808", True, [1], "1 2", "0x10", "١")
    ),
    case("the largest whole numbers", event(product_id=2**63 - 1, category_id=2**63 - 1, user_id=2**63 - 1)),
    # price.
    case("price in words", event(price="free"), "bad_price"),
    case("price with three decimals", event(price="2.625"), "bad_price"),
    case("price with three decimals as a number", with_raw("price", "2.625"), "bad_price"),
    case("price with twenty decimals", event(price="2.62000000000000000001"), "bad_price"),
    case("price too large", event(price="100000000.00"), "bad_price"),
    case("price far too large", with_raw("price", "1e99"), "bad_price"),
    case("price with a sign of money", event(price="$2.62"), "bad_price"),
    case("price with a comma", event(price="2,62"), "bad_price"),
    case("price Infinity in text", event(price="Infinity"), "not_a_number"),
    case("price NaN in text", event(price="NaN"), "not_a_number"),
    case("price NaN", with_raw("price", "NaN"), "not_a_number"),
    case("price Infinity", with_raw("price", "Infinity"), "not_a_number"),
    case("a brand too long", event(brand="x" * 256), "too_long"),
    case("24:00", event(event_time="2019-10-01 24:00:00 UTC"), "event_time_24_00"),
    case("a leap second", event(event_time="2016-12-31 23:59:60 UTC"), "event_time_leap_second"),
    case("price an object", event(price={"amount": 1}), "bad_price"),
    case("the largest price", event(price="99999999.99")),
    case("price zero", with_raw("price", "0")),
    case("price below zero", with_raw("price", "-2.62")),
    # Several rules at once, in the rules' order.
    case(
        "broken all over",
        event(event_time="never", event_type="wish", product_id="p", category_id="c", price="free", user_id=None),
        "bad_event_time",
        "unknown_event_type",
        "bad_product_id",
        "bad_category_id",
        "bad_price",
        "missing_user_id",
    ),
    case(
        "too old, and no price",
        event(event_time="2001-01-01 00:00:00 UTC", price=""),
        "event_time_before_2015",
        "missing_price",
    ),
    case(
        "broken, and unreadable",
        event(price="free"),
        "unreadable",
        "bad_price",
        topic="store-events-unreadable",
    ),
]


@pytest.fixture(scope="module")
def reasons(spark: SparkSession) -> dict[str, list[str]]:
    """All cases in one call of Spark: by name, the rules that the record broke."""
    frame = bronze_frame(spark, (case.record._replace(offset=offset) for offset, case in enumerate(CASES)))
    rows = read_records(frame, Settings(registry_url="http://registry"), {1: V1}).select("offset", "reasons").collect()
    assert sorted(row.offset for row in rows) == list(range(len(CASES)))
    return {CASES[row.offset].name: row.reasons for row in rows}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_record_breaks_exactly_these_rules(case: Case, reasons: dict[str, list[str]]) -> None:
    assert reasons[case.name] == case.reasons


def test_every_rule_has_a_case_that_breaks_it() -> None:
    # Without a registry it stands for unknown_schema (tests/spark/test_avro.py).
    # The store's first day has a setting, below.
    assert {rule.name for rule in RULES} - {"no_registry", "event_time_before_store"} == {
        reason for case in CASES for reason in case.reasons
    }
    assert len({case.name for case in CASES}) == len(CASES)


def test_the_settings_of_the_rules_are_obeyed(spark: SparkSession) -> None:
    frame = bronze_frame(spark, [record(event(event_time=at(KAFKA_AT + timedelta(seconds=1))))])
    strict = Settings(future_tolerance_s=0, max_value_bytes=10, unreadable_topic="store-events")
    (row,) = read_records(frame, strict).collect()
    assert row.reasons == ["unreadable", "too_large"]
    (row,) = read_records(frame, Settings(future_tolerance_s=0)).collect()
    assert row.reasons == ["event_time_in_future"]


def test_events_before_the_stores_first_day_are_refused_by_name(spark: SparkSession) -> None:
    """A folder is made for each day of events: the days that there can be are those of the store."""
    times = ["2014-12-31 23:59:59", "2015-01-01 00:00:00", "2019-09-30 23:59:59.999999", "2019-10-01 00:00:00"]
    frame = bronze_frame(spark, [record(event(event_time=f"{each} UTC"), offset=at) for at, each in enumerate(times)])
    opened = Settings(store_opened_on=date(2019, 10, 1))
    found = {row.offset: row.reasons for row in read_records(frame, opened).select("offset", "reasons").collect()}
    before = ["event_time_before_store"]
    assert found == {0: ["event_time_before_2015"], 1: before, 2: before, 3: []}
    found = {row.offset: row.reasons for row in read_records(frame, Settings()).select("offset", "reasons").collect()}
    assert found == {0: ["event_time_before_2015"], 1: [], 2: [], 3: []}
