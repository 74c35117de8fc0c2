"""Rows as bytes on Kafka: exact money, plain times, keys as text."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from lakehouse.wire import iso_utc, to_json, to_key

AT = datetime(2019, 10, 1, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Decimal("5.1"), "5.10"),
        (Decimal("0"), "0.00"),
        (Decimal("-3.50"), "-3.50"),
        # As a float this would lose its cents.
        (Decimal("123456789012345678.91"), "123456789012345678.91"),
        (Decimal("1E+2"), "100.00"),
    ],
)
def test_money_is_text_with_two_decimals(amount: Decimal, text: str) -> None:
    assert to_json({"revenue": amount}) == f'{{"revenue":"{text}"}}'.encode()


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (AT, "2019-10-01T00:01:00Z"),
        (AT.replace(microsecond=1), "2019-10-01T00:01:00.000001Z"),
        (AT.replace(tzinfo=None), "2019-10-01T00:01:00Z"),
        (AT.astimezone(timezone(timedelta(hours=5, minutes=30))), "2019-10-01T00:01:00Z"),
    ],
)
def test_a_time_is_iso_8601_in_utc(at: datetime, text: str) -> None:
    assert iso_utc(at) == text
    assert to_json({"at": at}) == f'{{"at":"{text}"}}'.encode()


def test_a_row_is_one_flat_object_in_the_order_of_its_columns() -> None:
    row = {"b": 2, "a": None, "on": date(2019, 10, 1), "brand": "café", "big": 2**63 - 1}
    assert list(json.loads(to_json(row)).items()) == [
        ("b", 2),
        ("a", None),
        ("on", "2019-10-01"),
        ("brand", "café"),
        ("big", 9223372036854775807),
    ]


def test_a_key_is_its_columns_as_text_joined_by_a_bar() -> None:
    assert to_key(AT, 5773203) == b"2019-10-01T00:01:00Z|5773203"
    assert to_key(463240011) == b"463240011"
    assert to_key(1, 23) != to_key(12, 3)
