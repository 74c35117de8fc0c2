"""Events in Avro: nothing that they say is changed, and what Avro cannot say stays JSON."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from typing import Any

import fastavro
import pytest

from ingest.event_wire import SCHEMA, AvroWire, event_wire, framed
from lakehouse.errors import ServiceError, SettingError
from lakehouse.event_contract import FIELDS
from lakehouse.settings import Settings
from tests.builders import MISSING, event
from tests.identity_by_hand import GOLDEN, Golden, id_of, json_of

WIRE = AvroWire(7)


def test_the_header_is_a_zero_byte_and_the_id_big_endian() -> None:
    assert framed(0x01020304, b"x") == b"\x00\x01\x02\x03\x04x"
    assert framed(2**32 - 1, b"") == b"\x00\xff\xff\xff\xff"


def test_the_schema_has_the_nine_fields() -> None:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    assert tuple(field["name"] for field in schema["fields"]) == FIELDS
    assert {field["name"] for field in schema["fields"] if "default" in field} == {
        "category_id",
        "category_code",
        "brand",
        "user_session",
    }


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.name)
def test_an_event_in_avro_is_the_same_event(golden: Golden) -> None:
    value = json_of(golden)
    (sent,) = WIRE([value])
    if golden.name == "an unknown field beside":
        assert sent == value
        return
    if golden.name == "price with zeros at the end" or golden.name == "price with an exponent":
        assert sent == value, "spellings of a price that are rare stay JSON"
        return
    assert sent is not None and sent.startswith(b"\x00\x00\x00\x00\x07")
    assert id_of(_as_json(sent)) == golden.event_id


@pytest.mark.parametrize(
    "fields",
    [
        {"price": "5.101"},
        {"price": "1e3"},
        {"price": "100000000"},
        {"price": ""},
        {"price": True},
        {"price": None},
        {"user_id": 2**63},
        {"user_id": "1_000"},
        {"user_id": "\u0661"},
        {"user_id": ""},
        {"user_id": MISSING},
        {"product_id": "7.0"},
        {"category_id": "none"},
        {"event_time": "yesterday"},
        {"event_time": "2019-02-30 00:00:00 UTC"},
        {"event_time": "2019-10-01 00:00:00.1234567 UTC"},
        {"event_time": None},
        {"event_type": None},
        {"brand": 5},
        {"brand": {"of": 1}},
        {"coupon": "B"},
        {"event_id": "mine"},
    ],
    ids=repr,
)
def test_what_the_schema_cannot_say_stays_json(fields: dict[str, Any]) -> None:
    value = json.dumps(event(**fields)).encode()
    assert WIRE([value]) == [value]


@pytest.mark.parametrize("value", [None, b"", b"bulk", b"[]", b"{", b"\xff", b'{"brand": "\\ud800"}', b"[" * 100_000])
def test_what_is_no_event_stays_as_it_is(value: bytes | None) -> None:
    assert WIRE([value]) == [value]


def test_text_is_sent_as_it_is() -> None:
    (sent,) = WIRE([json.dumps(event(brand="  este\u0301e \U0001f484\x00 ")).encode()])
    assert json.loads(_as_json(sent or b""))["brand"] == "  este\u0301e \U0001f484\x00 "


def test_json_is_the_default_and_needs_no_registry(settings: Settings) -> None:
    values = [b"{}", None]
    assert event_wire(settings)(values) is values


@pytest.mark.parametrize("url", ["", "registry:8081", "http://u:hidden@registry:8081"])
def test_avro_needs_the_address_of_a_registry(settings: Settings, url: str) -> None:
    with pytest.raises(SettingError, match="LAKEHOUSE_REGISTRY_URL") as caught:
        event_wire(settings.model_copy(update={"wire": "avro", "registry_url": url}))
    assert "hidden" not in str(caught.value)


def test_a_registry_that_is_away_is_said(settings: Settings) -> None:
    away = settings.model_copy(update={"wire": "avro", "registry_url": "http://127.0.0.1:1"})
    with pytest.raises(ServiceError, match=r"http://127\.0\.0\.1:1 cannot be asked: .*refused"):
        event_wire(away)


def _as_json(sent: bytes) -> bytes:
    """What a reader of Avro finds, as JSON."""
    read = fastavro.schemaless_reader(io.BytesIO(sent[5:]), json.loads(SCHEMA.read_text(encoding="utf-8")), None)
    assert isinstance(read, dict)
    assert isinstance(read["price"], Decimal)
    return json.dumps(read | {"event_time": read["event_time"].isoformat(), "price": str(read["price"])}).encode()
