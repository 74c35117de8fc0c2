"""Events and any other values in Avro, framed as Kafka has them."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import fastavro

from ingest.event_wire import SCHEMA, AvroWire, framed
from tests.builders import Fields

V1 = SCHEMA.read_text(encoding="utf-8")
TYPED = {
    "event_time": datetime(2019, 10, 1, tzinfo=UTC),
    "event_type": "view",
    "product_id": 5773203,
    "category_id": None,
    "category_code": None,
    "brand": None,
    "price": Decimal("2.62"),
    "user_id": 463240011,
    "user_session": None,
}
"""An event as a value of V1."""


def with_field(schema: str, **field: Any) -> str:
    """The schema with one more field at its end."""
    parsed = json.loads(schema)
    return json.dumps(parsed | {"fields": [*parsed["fields"], field]})


def in_avro(event: Fields, schema_id: int) -> bytes:
    """An event of the nine fields, by our own schema."""
    (value,) = AvroWire(schema_id)([json.dumps(event).encode()])
    assert value is not None and value[0] == 0, "it has no form in Avro"
    return value


def by_schema(schema: str, value: Any, schema_id: int) -> bytes:
    encoded = io.BytesIO()
    fastavro.schemaless_writer(encoded, fastavro.parse_schema(json.loads(schema)), value)
    return framed(schema_id, encoded.getvalue())
