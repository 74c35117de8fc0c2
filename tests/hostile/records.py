"""Records as other people's programs write them: good ones in every writing; bad ones, each with a rule it breaks."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.builders import HOSTILE, MISSING, purchase
from tests.event_times import AT_24, LEAP_SECONDS, READABLE, UNREADABLE


class Thrown(NamedTuple):
    """:param rule: that it must be refused by; None: it is a sale of its session."""

    value: bytes | None
    session: str
    rule: str | None = None


def thrown(draw: random.Random, number: int) -> Thrown:
    """The record of this number: two of three are good."""
    session = f"h{number}"
    if draw.random() < 2 / 3:
        return Thrown(draw.choice(_GOOD)(draw, session), session)
    rule, make = draw.choice(_BAD)
    return Thrown(make(draw, session), session, rule)


def sale(draw: random.Random, session: str, **fields: Any) -> dict[str, Any]:
    few = {
        "product_id": draw.randrange(1, 400),
        "user_id": draw.randrange(1, 2000),
        "price": f"{draw.randrange(1, 9999) / 100:.2f}",
    }
    return purchase(**({"user_session": session} | few | fields))


def _json(fields: dict[str, Any], **options: Any) -> bytes:
    return json.dumps(fields, **options).encode("utf-8", errors="surrogatepass")


def _plain(draw: random.Random, session: str) -> bytes:
    return _json(sale(draw, session), ensure_ascii=draw.choice([True, False]), indent=draw.choice([None, 2]))


def _times(draw: random.Random, session: str) -> bytes:
    return _json(sale(draw, session, event_time=draw.choice(list(READABLE))))


def _numbers(draw: random.Random, session: str) -> bytes:
    """As languages write them that have doubles alone, or text."""
    number = draw.randrange(1, 2**53)
    written = draw.choice([number, f" {number} ", f"{number}.0", f"+{number}", f"{number:,}".replace(",", "")])
    price = draw.choice([1, 1.5, "1.50", " 1.5 ", "1e0", "001.50", "99999999.99"])
    return _json(sale(draw, session, user_id=written, product_id=draw.choice([7, "7", "7.0", 7.0, "7e0"]), price=price))


def _no_values(draw: random.Random, session: str) -> bytes:
    """NaN and its like where no value is needed; nothing at all; space."""
    nothing = [float("nan"), float("inf"), None, MISSING, "", "  "]
    return _json(sale(draw, session, category_id=draw.choice(nothing), brand=draw.choice([None, MISSING, "", "  "])))


def _texts(draw: random.Random, session: str) -> bytes:
    brand = draw.choice([*HOSTILE, "é" * 255, "\u202eabc", "[/b]:smile:", "\x1b[31m", "e\u0301" * 20, "\ud800"])
    return _json(sale(draw, session, brand=brand, category_code=draw.choice([None, "a" * 255, "x\u0000y"])))


def _extras(draw: random.Random, session: str) -> bytes:
    many = {
        f"field {number}": draw.choice([number, "x" * 20, None, {"of": [1, {"a": "b"}]}])
        for number in range(draw.choice([1, 70, 300]))
    }
    odd = {
        "": 1,
        "a" * 500: 2,
        "nul\u0000in": 3,
        "p" * 30: "y" * draw.choice([10, 10, 2_000, 2_000, 20_000]),
        "_cut": 1,
        "key": "k",
        "row": "r",
    }
    return _json(many | odd | sale(draw, session))


def _latin_1(draw: random.Random, session: str) -> bytes:
    return json.dumps(sale(draw, session, brand="büro"), ensure_ascii=False).encode("latin-1")


Make = Callable[[random.Random, str], bytes | None]

_GOOD: tuple[Make, ...] = (_plain, _plain, _times, _numbers, _no_values, _texts, _extras)


def _with(name: str, *values: Any) -> Make:
    return lambda draw, session: _json(sale(draw, session, **{name: draw.choice(values)}))


_BAD: tuple[tuple[str, Make], ...] = (
    ("empty_value", lambda _draw, _session: None),
    ("empty_value", lambda _draw, _session: b""),
    ("not_json", lambda draw, session: _plain(draw, session)[: draw.randrange(1, 40)]),
    ("not_json", lambda draw, session: b"[" + _plain(draw, session) + b"]"),
    ("not_json", lambda draw, session: _plain(draw, session) + b" and more"),
    ("not_json", lambda draw, _session: b'{"a":' * draw.randrange(1, 5000)),
    ("not_json", lambda _draw, _session: b"null"),
    ("invalid_utf8", lambda draw, session: _plain(draw, session) + bytes([draw.randrange(128, 256)])),
    ("invalid_utf8", _latin_1),
    ("invalid_utf8", lambda draw, session: b"\xff\xfe" + _plain(draw, session).decode().encode("utf-16-le")),
    ("too_large", lambda draw, session: _json(sale(draw, session, note="x" * 1_050_000))),
    ("repeated_field", lambda draw, session: b'{"price": 1, ' + _json(sale(draw, session))[1:]),
    ("missing_event_time", _with("event_time", None, MISSING, "", " ")),
    ("bad_event_time", _with("event_time", *UNREADABLE, 1570269662, True, {})),
    ("event_time_24_00", _with("event_time", *AT_24)),
    ("event_time_leap_second", _with("event_time", *LEAP_SECONDS)),
    (
        "event_time_before_2015",
        _with("event_time", "2014-12-31 23:59:59 UTC", "1970-01-01T00:00Z", "0001-01-01 00:00:00"),
    ),
    ("event_time_in_future", _with("event_time", "2999-01-01 00:00:00 UTC", "9999-12-31T23:59:59Z")),
    ("missing_event_type", _with("event_type", None, MISSING, "")),
    ("unknown_event_type", _with("event_type", "sale", "PURCHASE!", 1, ["purchase"])),
    ("missing_product_id", _with("product_id", None, MISSING, " ")),
    ("bad_product_id", _with("product_id", "x", 1.5, 2**63, 10**30, float(2**53), "1e400", [1])),
    ("bad_category_id", _with("category_id", "x", 1.5, 10**30)),
    ("missing_price", _with("price", None, MISSING, "")),
    ("bad_price", _with("price", "x", "1.234", 100_000_000, "1e400", "-1e99", "1,50", "0x10", [2])),
    ("missing_user_id", _with("user_id", None, MISSING, "")),
    ("bad_user_id", _with("user_id", "x", 1.5, 10**30, "9" * 40_000)),
    ("not_a_number", _with("price", float("nan"), float("inf"), float("-inf"), "NaN", "Infinity")),
    ("not_a_number", _with("user_id", float("nan"), "nan")),
    ("too_long", _with("brand", "b" * 256, "b" * 6_000, "e\u0301" * 80_000)),
    ("too_long", _with("category_code", "c" * 256, "c" * 160_000)),
    ("bad_event_id", _with("event_id", "i" * 257, "i" * 100_000)),
)
