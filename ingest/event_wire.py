"""Events as Kafka gets them: JSON as it is, or Avro (LAKEHOUSE_WIRE), whose schema the registry has.

An event that says what the schema cannot say (a price that is no number, a field beyond the nine) stays JSON: both may
follow each other on the topic, and silver judges it as it judges any other.
"""

from __future__ import annotations

import io
import json
import re
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from ingest.event_time import read_time
from lakehouse.event_contract import FIELDS
from lakehouse.registry import Registry, missing_extra
from lakehouse.settings import Settings

SCHEMA = Path(__file__).with_name("event.avsc")

Values = Sequence[bytes | None]
Wire = Callable[[Values], Values]
"""In: events, each a JSON object. Out: the same, as Kafka gets them."""

_SPACE = " \t\r\n"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WHOLE = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_MONEY = re.compile(r"[+-]?\d{1,8}(\.\d{1,2})?", re.ASCII)
_NANOSECONDS = re.compile(r"\.\d{7}")


def event_wire(settings: Settings) -> Wire:
    """:raises InputError: the registry refuses the schema.
    :raises ServiceError: the registry cannot be asked.
    :raises SettingError: no registry is set.
    :raises MissingExtraError: the extra `avro` is not installed.
    """
    if settings.wire == "json":
        return lambda values: values
    registered = Registry(settings).register(f"{settings.events_topic}-value", SCHEMA.read_text(encoding="utf-8"))
    return AvroWire(registered)


def framed(schema_id: int, value: bytes) -> bytes:
    """A value in Avro, as Confluent's clients send it (lakehouse/framing.py reads it)."""
    return struct.pack(">bI", 0, schema_id) + value


class AvroWire:
    """:param schema_id: the registry's, of SCHEMA."""

    def __init__(self, schema_id: int) -> None:
        try:
            import fastavro
        except ImportError as error:
            raise missing_extra() from error
        self._write = fastavro.schemaless_writer
        self._schema_id, self._schema = schema_id, fastavro.parse_schema(json.loads(SCHEMA.read_text(encoding="utf-8")))

    def __call__(self, values: Values) -> Values:
        return [self._encode(value) for value in values]

    def _encode(self, value: bytes | None) -> bytes | None:
        event = None if value is None else _typed(value)
        if event is None:
            return value
        encoded = io.BytesIO()
        self._write(encoded, self._schema, event)
        return framed(self._schema_id, encoded.getvalue())


def _typed(value: bytes) -> dict[str, Any] | None:
    """An event's values by the types of the schema; None if it does not fit them."""
    try:
        event = json.loads(value, parse_float=str)
        if not isinstance(event, dict) or not event.keys() <= set(FIELDS):
            return None
        return {
            "event_time": _micros(event["event_time"]),
            "event_type": _text(event["event_type"]),
            "product_id": _whole(event["product_id"]),
            "category_id": _or_null(_whole, event.get("category_id")),
            "category_code": _or_null(_text, event.get("category_code")),
            "brand": _or_null(_text, event.get("brand")),
            "price": _money(event["price"]),
            "user_id": _whole(event["user_id"]),
            "user_session": _or_null(_text, event.get("user_session")),
        }
    except (ValueError, KeyError, RecursionError):
        return None


def _or_null(read: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None or value == "" else read(value)


def _text(value: Any) -> str:
    """:raises ValueError: it is no text, or cannot be UTF-8."""
    if not isinstance(value, str):
        raise ValueError(value)
    value.encode()
    return value


def _whole(value: Any) -> int:
    """:raises ValueError: it is no integer of 64 bits."""
    number = int(_matching(_WHOLE, value))
    if not -(2**63) <= number < 2**63:
        raise ValueError(value)
    return number


def _money(value: Any) -> Decimal:
    """:raises ValueError: it is no number below 100 million with at most two decimals."""
    return Decimal(_matching(_MONEY, value)).quantize(Decimal("0.01"))


def _micros(value: Any) -> int:
    """Since 1970, UTC. :raises ValueError: it is no time, or one of nanoseconds."""
    at = None if _NANOSECONDS.search(_text(value)) else read_time(value)
    if at is None:
        raise ValueError(value)
    return (at - _EPOCH) // timedelta(microseconds=1)


def _matching(pattern: re.Pattern[str], value: Any) -> str:
    """A number, or the text of one. :raises ValueError: it does not match."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(value)
    found = pattern.fullmatch(str(value).strip(_SPACE))
    if found is None:
        raise ValueError(value)
    return found[0]
