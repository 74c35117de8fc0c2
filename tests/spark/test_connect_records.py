"""Records as Kafka Connect writes them: all text, with where they are from, or wrapped in a schema."""

from __future__ import annotations

import json
from typing import Any

from pyspark.sql import SparkSession

from lakehouse.settings import Settings
from silver.events import read_records
from tests.builders import bronze_frame, event, record, records
from tests.identity_by_hand import GOLDEN, SAME, json_of

LINEAGE = {"source_file": "2019-10-01.csv", "source_row": 2}
SCHEMA = b'{"type":"struct","fields":[{"type":"string","optional":true,"field":"brand"}],"optional":false}'

NO_FIELD_OF_AN_EVENT = [f"missing_{name}" for name in ("event_time", "event_type", "product_id", "price", "user_id")]


def as_file_pulse_sends(value: bytes) -> bytes:
    """Names in the order of the alphabet, values as text, empty as null."""
    fields = json.loads(value, parse_float=str, parse_int=str)
    texts = {name: text if text is None or text.strip() else None for name, text in fields.items()}
    return json.dumps(dict(sorted((texts | LINEAGE).items())), ensure_ascii=False, separators=(",", ":")).encode()


def wrapped(payload: bytes) -> bytes:
    return b'{"schema":%s,"payload":%s}' % (SCHEMA, payload)


def test_every_golden_event_has_its_id_by_this_road_too(spark: SparkSession, settings: Settings) -> None:
    plain = [json_of(golden) for golden in GOLDEN]
    texts = [as_file_pulse_sends(value) for value in plain]
    frame = bronze_frame(spark, records([*texts, *map(wrapped, texts), *map(wrapped, plain)]))
    rows = read_records(frame, settings).orderBy("offset").select("event_id", "reasons", "extras").collect()
    expected = [golden.event_id for golden in GOLDEN] * 3
    assert [(row.event_id, row.reasons) for row in rows] == [(event_id, []) for event_id in expected]
    campaign = {"campaign": "x"}
    for golden, row in zip(GOLDEN * 2, rows[: 2 * len(GOLDEN)], strict=True):
        others = campaign if golden.name == "an unknown field beside" else {}
        assert row.extras == {"source_file": "2019-10-01.csv", "source_row": "2"} | others


def test_only_an_object_of_schema_and_payload_is_unwrapped(spark: SparkSession, settings: Settings) -> None:
    inner = json.dumps(event(price="5.10")).encode()

    def beside(**more: Any) -> bytes:
        return json.dumps({"schema": {}, "payload": event()} | more).encode()

    values = {
        wrapped(inner): [],
        b' { "payload" : %s , "schema" : null }\n' % inner: [],
        wrapped(inner) + b"x": ["not_json"],
        wrapped(inner) + wrapped(inner): ["not_json"],
        wrapped(b"null"): ["not_json"],
        wrapped(b'"text"'): ["not_json"],
        wrapped(b"[%s]" % inner): ["not_json"],
        wrapped(b"7"): ["not_json"],
        wrapped(inner[:-1] + b',"brand":"other"}'): ["repeated_field"],
        wrapped(wrapped(inner)): NO_FIELD_OF_AN_EVENT,
        beside(other=1): NO_FIELD_OF_AN_EVENT,
        b'{"payload":%s,"payload":%s}' % (inner, inner): ["repeated_field", *NO_FIELD_OF_AN_EVENT],
        b'{"payload":%s}' % inner: NO_FIELD_OF_AN_EVENT,
    }
    rows = read_records(bronze_frame(spark, records(values)), settings).orderBy("offset").collect()
    found = {bytes(row.value): row.reasons for row in rows}
    assert found == values
    assert [row.event_id for row in rows if not row.reasons] == [SAME, SAME]


def test_a_row_that_it_could_not_read_is_unreadable(spark: SparkSession, settings: Settings) -> None:
    value = {"headers": ["event_time,event_type"], "message": "2019,view,x", "reason": "Too large number of fields (3)"}
    refused = record(value, topic=settings.unreadable_topic, key=None)
    (row,) = read_records(bronze_frame(spark, [refused]), settings).collect()
    assert row.event_id is None
    assert row.reasons[0] == "unreadable"
