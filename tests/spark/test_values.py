"""Values as others write them: times, whole numbers, NaN, long texts and many fields."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession

from lakehouse.settings import Settings
from silver.events import read_records
from tests.builders import bronze_frame, event, records
from tests.event_times import AT_24, LEAP_SECONDS, READABLE, UNREADABLE


def read(spark: SparkSession, values: list[Any], settings: Settings | None = None) -> list[Row]:
    """In the order of the values."""
    read = read_records(bronze_frame(spark, records(values)), settings or Settings())
    return read.orderBy("offset").drop("value").collect()


def token(name: str, text: str) -> bytes:
    """An event in whose JSON this stands for the value of a field, as it is."""
    return json.dumps(event(**{name: "@"})).replace('"@"', text).encode()


def test_times_are_read_as_others_write_them(spark: SparkSession) -> None:
    rows = read(spark, [event(event_time=f" {text}\n") for text in READABLE])
    assert {text: row.event_at for text, row in zip(READABLE, rows, strict=True)} == {
        text: at.replace(tzinfo=None) for text, at in READABLE.items()
    }
    assert [row.reasons for row in rows] == [[]] * len(rows)


def test_a_time_that_is_none_has_its_reason(spark: SparkSession) -> None:
    rows = read(spark, [event(event_time=text) for text in (*UNREADABLE, *AT_24, *LEAP_SECONDS)])
    names = ["bad_event_time"] * len(UNREADABLE)
    names += ["event_time_24_00"] * len(AT_24) + ["event_time_leap_second"] * len(LEAP_SECONDS)
    assert [row.reasons for row in rows] == [[name] for name in names]


WHOLE = {
    "460000001.0": 460000001,
    "5800001.0": 5800001,
    "1e3": 1000,
    "4.6E8": 460000000,
    "-7.0": -7,
    "9007199254740991.0": 2**53 - 1,
    '"460000001.0"': 460000001,
    '"460000001."': 460000001,
    '"1487580005092295511.000"': 1487580005092295511,  # as text nothing of it is lost
    '"4.60000001E+8"': 460000001,
    "9223372036854775807": 2**63 - 1,
}
NOT_WHOLE = (
    "1.5",
    "9007199254740993.0",
    "1487580005092295511.0",
    "1e99",
    '"1.0.0"',
    '"1e0.5"',
    '"9223372036854775808.0"',
    # A cast of these to decimal takes minutes.
    '"1e-999999999"',
    '"1e999999999"',
    f'"{"9" * 500_000}"',
    f'"{"9" * 500_000}.0"',
)


@pytest.mark.parametrize("name", ["product_id", "category_id", "user_id"])
def test_whole_numbers_come_as_decimals_too_unless_they_may_have_changed(spark: SparkSession, name: str) -> None:
    rows = read(spark, [token(name, text) for text in (*WHOLE, *NOT_WHOLE)])
    assert [(row[name], row.reasons) for row in rows] == [
        *((number, []) for number in WHOLE.values()),
        *((None, [f"bad_{name}"]) for _ in NOT_WHOLE),
    ]


def test_what_is_no_number_is_no_value_where_none_is_needed(spark: SparkSession) -> None:
    tokens = ("NaN", "Infinity", "-Infinity")
    optional = ("category_code", "brand", "user_session", "category_id")
    rows = read(spark, [token(name, text) for name in optional for text in tokens])
    assert [
        (row[name], row.reasons) for row, name in zip(rows, [n for n in optional for _ in tokens], strict=True)
    ] == [(None, [])] * len(rows)
    # Texts stay: a brand may be called so. A number is no text.
    rows = read(spark, [event(brand=text, category_id=text) for text in ("NaN", "Infinity", "inf")])
    assert [(row.brand, row.category_id, row.reasons) for row in rows] == [
        (text, None, []) for text in ("NaN", "Infinity", "inf")
    ]
    needed = ("event_time", "event_type", "product_id", "price", "user_id")
    rows = read(spark, [token(name, text) for name in needed for text in (*tokens, '"nan"', '"-inf"')])
    assert [row.reasons for row in rows] == [["not_a_number"]] * len(rows)


def test_a_text_has_a_longest_length_in_characters(spark: SparkSession) -> None:
    names = ("category_code", "brand", "user_session")
    longest = "\U0001f484" * 255
    rows = read(spark, [event(**{name: longest}) for name in names])
    assert [(row.reasons, row[name]) for row, name in zip(rows, names, strict=True)] == [([], longest)] * 3
    rows = read(spark, [event(**{name: longest + "x"}) for name in names])
    assert [row.reasons for row in rows] == [["too_long"]] * 3
    (row,) = read(spark, [event(brand="abcd")], Settings(max_text_chars=3))
    assert row.reasons == ["too_long"]
    # What ICU would take minutes for.
    (row,) = read(spark, [event(brand="e\u0301\u0323" * 80_000, event_id="a\u0301" * 160_000)])
    assert row.reasons == ["too_long", "bad_event_id"]


def test_of_many_or_long_unknown_fields_the_first_are_kept_and_it_says_so(spark: SparkSession) -> None:
    bounds = Settings(max_extras=3, max_extra_chars=10)
    small = {"a": "x" * 10, "b": None, "_cut": "theirs"}
    draw = random.Random(1)
    names = [f"n{number}" for number in range(200)]
    draw.shuffle(names)
    many = dict.fromkeys(names, "é" * 11)
    odd = {"n" * 256: 1, "_cut": 2, "c": {"d": ["x" * 20]}, "d": None, "e": "\U0001f484" * 11, "f": 1}
    values = [event(**small), event(**many), event(**odd)]
    first, second, third = read(spark, values, bounds)
    sizes = [len(each.value or b"") for each in records(values)]
    assert first.extras == small
    assert second.extras == dict.fromkeys(names[:3], "é" * 10) | {"_cut": f"200 fields in {sizes[1]} bytes"}
    assert third.extras == {
        "c": '{"d":["xxx',
        "d": None,
        "e": "\U0001f484" * 10,
        "_cut": f"6 fields in {sizes[2]} bytes",
    }
    assert [row.reasons for row in (first, second, third)] == [[], [], []]
    (none,) = read(spark, [event(a=1)], Settings(max_extras=0))
    assert list(none.extras) == ["_cut"]
    (twice,) = read(spark, [token("x", '"' + "y" * 2000 + '","x":2')], bounds)
    assert twice.reasons == ["repeated_field"]
