"""Golden vectors of event identity, and the rule for it (silver/identity.py) once more in plain Python.

The hex values are written out: whoever changes the rule, on purpose or not, makes every event of the past a new one.
tests/unit/test_identity.py holds the rule here to them, tests/spark/test_identity_in_spark.py Spark's expression.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Golden(NamedTuple):
    """:param replaced: parts of the base event's JSON -> what stands there instead."""

    name: str
    replaced: dict[str, str]
    event_id: str


BASE = (
    '{"event_time":"2019-10-01 00:00:00 UTC","event_type":"view","product_id":5773203,'
    '"category_id":1487580005134238553,"category_code":null,"brand":"runail","price":5.10,'
    '"user_id":463240011,"user_session":"26dd6e6e-4dac-4778-8d2c-92e149dab885"}'
)
REVERSED = (
    '{"user_session":"26dd6e6e-4dac-4778-8d2c-92e149dab885", "user_id":463240011, "price":5.10,\n "brand":"runail",'
    '"category_code":null,"category_id":1487580005134238553,"product_id":5773203,"event_type":"view",'
    '"event_time":"2019-10-01 00:00:00 UTC"}'
)
TIME, BRAND, PRICE, CODE = "2019-10-01 00:00:00 UTC", '"runail"', "5.10", '"category_code":null'
CATEGORY, PRODUCT, USER, SESSION = "1487580005134238553", "5773203", "463240011", "26dd6e6e-4dac-4778-8d2c-92e149dab885"

SAME = "4e63338ea60ebaefe02c37840d77c553"
GOLDEN = [
    Golden("all as in the store's files", {}, SAME),
    # What must make no difference.
    Golden(
        "numbers as text", {PRICE: '"5.10"', PRODUCT: '"5773203"', CATEGORY: f'"{CATEGORY}"', USER: f'"{USER}"'}, SAME
    ),
    Golden("other order of keys, other space between them", {BASE: REVERSED}, SAME),
    Golden("an unknown field beside", {CODE: '"category_code":null,"campaign":"x"'}, SAME),
    Golden("category_code missing", {CODE + ",": ""}, SAME),
    Golden("category_code empty", {CODE: '"category_code":""'}, SAME),
    Golden("category_code only space", {CODE: '"category_code":" \\t "'}, SAME),
    Golden("space around text", {BRAND: '"  runail\\n"', '"view"': '" view "', SESSION: f" {SESSION} "}, SAME),
    Golden("space around numbers in text", {PRICE: '" 5.10 "', USER: f'" {USER} "'}, SAME),
    Golden("price 5.1", {PRICE: "5.1"}, SAME),
    Golden("price 05.10 in text", {PRICE: '"05.10"'}, SAME),
    Golden("price with zeros at the end", {PRICE: "5.10000"}, SAME),
    Golden("price with an exponent", {PRICE: "51e-1"}, SAME),
    Golden("zeros before a number in text", {PRODUCT: '"0005773203"', USER: f'"+{USER}"'}, SAME),
    Golden("ISO 8601 time", {TIME: "2019-10-01T00:00:00Z"}, SAME),
    Golden("ISO 8601 time with fractions of zero", {TIME: "2019-10-01T00:00:00.000Z"}, SAME),
    Golden("time in another zone", {TIME: "2019-10-01T03:00:00+03:00"}, SAME),
    Golden("time without a zone", {TIME: "2019-10-01 00:00:00"}, SAME),
    Golden("an escaped letter", {BRAND: '"r\\u0075nail"'}, SAME),
    # What must.
    Golden("cart", {'"view"': '"cart"'}, "3556b22da258d4c116000c6dd6c3b220"),
    Golden("remove_from_cart", {'"view"': '"remove_from_cart"'}, "24665d48663acfbe2d0615ae987a8169"),
    Golden("purchase", {'"view"': '"purchase"'}, "92e32b851ab81fd527982e5e3514050d"),
    Golden("refund", {'"view"': '"purchase"', PRICE: "-5.10"}, "f1784ea9a213ccbce7ddd56d4995b109"),
    Golden("price zero", {PRICE: "0"}, "1b66890218b449d34a4a624baeb750e1"),
    Golden("price minus zero", {PRICE: "-0.00"}, "1b66890218b449d34a4a624baeb750e1"),
    Golden("the largest price", {PRICE: "99999999.99"}, "2d445949fb76eac251e7c371792a8445"),
    Golden("a microsecond later", {TIME: "2019-10-01T00:00:00.000001Z"}, "2c570039782211a5cc026fdfc59b5233"),
    Golden("half a second later", {TIME: "2019-10-01 00:00:00.5 UTC"}, "443eae68ff07a7eea929e04ae0a2dd06"),
    Golden("brand null", {BRAND: "null"}, "588203a6e015464f24f0e01bbe5a6c91"),
    Golden("brand missing", {f'"brand":{BRAND},': ""}, "588203a6e015464f24f0e01bbe5a6c91"),
    Golden("brand that looks like the mark of null", {BRAND: '"-"'}, "05cd9bbc4575a6ece6fdadd23f43c598"),
    Golden("brand called null", {BRAND: '"null"'}, "9dc3215ed5a0c2e7d8e49e9d7fbbad5b"),
    Golden(
        "category_id one more, equal as a float", {CATEGORY: "1487580005134238554"}, "cbc08d407cea3935946c1cc13ce0c41e"
    ),
    Golden("category_id null", {CATEGORY: "null"}, "7f0a86d401357d3a35384d929a28a355"),
    Golden(
        "the largest ids",
        {CATEGORY: str(2**63 - 1), PRODUCT: str(2**63 - 1), USER: str(2**63 - 1)},
        "6d0fa9497435b444b7cc4884b81d9913",
    ),
    Golden("the smallest ids", {CATEGORY: str(-(2**63)), PRODUCT: "-1", USER: "0"}, "6c94614d9d1718c8a3567d418242b95c"),
    Golden("session null", {f'"{SESSION}"': "null"}, "a2ea11da6e9afc1e8bc7ef3e79b83ef1"),
    Golden(
        "text moved from one field to the next",
        {CODE: '"category_code":"run"', BRAND: '"ail"'},
        "cc104ab513b7855cf04353b7704e2484",
    ),
    Golden(
        "the same text, cut elsewhere",
        {CODE: '"category_code":"ru"', BRAND: '"nail"'},
        "27d7b02a1c36ec402790bbd7abbbf77b",
    ),
    Golden(
        "text that imitates the form",
        {CODE: '"category_code":"a6:runail"', BRAND: "null"},
        "692eb72224adbf914c81f4d41b47eb29",
    ),
    Golden("composed letters", {BRAND: '"estée"'}, "41aaefc358f279a3e0723b48f4c5e2f3"),
    Golden("the same letters decomposed", {BRAND: '"este\u0301e"'}, "41aaefc358f279a3e0723b48f4c5e2f3"),
    Golden("Korean, composed", {BRAND: '"설화수"'}, "c6941564acf6740452a263f513c1ad29"),
    Golden(
        "Korean, decomposed", {BRAND: f'"{unicodedata.normalize("NFD", "설화수")}"'}, "c6941564acf6740452a263f513c1ad29"
    ),
    Golden("a sign outside the first plane", {BRAND: '"💄"'}, "46f4bac6159e76d1780e96454b7ef788"),
    Golden("a ligature stays one: NFC, not NFKC", {BRAND: '"\ufb01n"'}, "f2d7940fe2124bc1d9fc973579fb9d56"),
]


def json_of(golden: Golden) -> bytes:
    text = BASE
    for part, instead in golden.replaced.items():
        assert part in text, part
        text = text.replace(part, instead, 1)
    return text.encode()


def id_of(value: bytes) -> str:
    """The event_id of an event that keeps all rules, without a float on the way."""
    fields = json.loads(value, parse_float=str, parse_int=str)
    forms = (
        micros(text_of(fields, "event_time")),
        text_of(fields, "event_type"),
        whole(text_of(fields, "product_id")),
        whole(text_of(fields, "category_id")),
        composed(text_of(fields, "category_code")),
        composed(text_of(fields, "brand")),
        money(text_of(fields, "price")),
        whole(text_of(fields, "user_id")),
        composed(text_of(fields, "user_session")),
    )
    canonical = b"".join(b"-" if form is None else b"%d:%s" % (len(form.encode()), form.encode()) for form in forms)
    return hashlib.sha256(canonical).hexdigest()[:32]


def text_of(fields: dict[str, str | None], name: str) -> str | None:
    return (fields.get(name) or "").strip(" \t\r\n") or None


def composed(text: str | None) -> str | None:
    return None if text is None else unicodedata.normalize("NFC", text)


def whole(text: str | None) -> str | None:
    return None if text is None else str(int(text))


def money(text: str | None) -> str | None:
    return None if text is None else str(Decimal(text).quantize(Decimal("0.01")) + Decimal("0.00"))


def micros(text: str | None) -> str | None:
    if text is None:
        return None
    at = datetime.fromisoformat(text.replace(" UTC", "Z"))
    return str(((at if at.tzinfo else at.replace(tzinfo=UTC)) - EPOCH) // timedelta(microseconds=1))
