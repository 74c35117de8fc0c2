"""Events and Kafka records, with a default for all that a test is not about."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, SparkSession

from lakehouse.schemas import BRONZE_EVENTS
from lakehouse.values import frame_of_rows

TOPIC = "store-events"
INGESTED_AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
# After every event that a test makes: files of years ago are read today.
KAFKA_AT = datetime(2026, 1, 2, 3, 4, 0, tzinfo=UTC)


class _Missing:
    """A field that is not there. Test ids show it, the same in each process."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()
"""As the value of a field: the event does not have it."""

Fields = dict[str, Any]


class Record(NamedTuple):
    """A Kafka record, as bronze keeps it."""

    value: bytes | None
    offset: int
    partition: int
    topic: str
    kafka_at: datetime
    key: bytes | None
    headers: tuple[tuple[str, bytes], ...] | None = None


def event(**fields: Any) -> Fields:
    """The nine fields of a view, and others where given. Equal arguments make copies of one event."""
    defaults = {
        "event_time": "2019-10-01 00:00:00 UTC",
        "event_type": "view",
        "product_id": 5773203,
        "category_id": 1487580005134238553,
        "category_code": None,
        "brand": "runail",
        "price": "2.62",
        "user_id": 463240011,
        "user_session": "26dd6e6e-4dac-4778-8d2c-92e149dab885",
    }
    return {name: value for name, value in (defaults | fields).items() if value is not MISSING}


def purchase(**fields: Any) -> Fields:
    return event(**({"event_type": "purchase"} | fields))


HOSTILE = ("<script>alert(1)</script>", "'; drop table gold.orders; --", "a|b", 'Ünïcødé "quotes" \\ 美', "\u0000nul")
"""Brands that a page, a database or a file might stumble over."""


def some_events(seed: int, count: int) -> list[Fields]:
    """Few customers, products and moments, so that orders have several lines and windows several buyers."""
    draw = random.Random(seed)

    def one() -> Fields:
        kind = draw.choice(["view", "cart", "remove_from_cart", "purchase", "purchase"])
        return event(
            event_type=kind,
            event_time=f"2019-10-0{draw.randint(1, 2)} {draw.choice([0, 0, 13, 23]):02}:59:{draw.randint(57, 59)} UTC",
            product_id=draw.randint(1, 5),
            brand=draw.choice([None, "runail", *HOSTILE]),
            category_code=draw.choice([None, "apparel.glove"]),
            price=draw.choice(["2.62", "0.01", "99999999.99", "0.00"] + ["-1.50"] * (kind == "purchase")),
            user_id=draw.randint(1, 6),
            user_session=draw.choice([None, "s1", "s2"]),
            coupon=draw.choice([MISSING, "B", {"of": ["a", 1]}]),
            channel=draw.choice([MISSING, "Ünï"]),
        )

    return [one() for _ in range(count)]


def record(
    value: Fields | bytes | None,
    offset: int = 0,
    *,
    partition: int = 0,
    topic: str = TOPIC,
    kafka_at: datetime = KAFKA_AT,
    key: bytes | None = b"463240011",
) -> Record:
    """A record with these bytes, or with an event's fields as JSON."""
    content = json.dumps(value, ensure_ascii=False).encode() if isinstance(value, dict) else value
    return Record(content, offset, partition, topic, kafka_at, key)


def records(values: Iterable[Fields | bytes | None], *, first_offset: int = 0, partition: int = 0) -> list[Record]:
    """Records at offsets one after the other."""
    return [record(value, offset, partition=partition) for offset, value in enumerate(values, first_offset)]


def bronze_frame(spark: SparkSession, rows: Iterable[Record]) -> DataFrame:
    """The records as rows of bronze.events."""
    ingested = {"ingested_at": INGESTED_AT, "ingested_on": INGESTED_AT.date()}
    return frame_of_rows(spark, [row._asdict() | ingested for row in rows], BRONZE_EVENTS)
