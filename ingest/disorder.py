"""What happens to events on their way: copies, late arrival, broken records.

Pure functions over lists of records, seeded. Each broken record says which rules a reader should report.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from ingest.event_batch import EventBatch

TIME = "%Y-%m-%d %H:%M:%S UTC"
MISSING = object()


@dataclass(frozen=True)
class Record:
    """One Kafka record.

    :param rules: names of the rules that it breaks, sorted; none for a good event.
    """

    key: bytes | None
    value: bytes | None
    rules: tuple[str, ...] = ()


Fault = tuple[str, Callable[[Any, np.random.Generator, datetime], Any]]  # field, and its old value -> its new one


def _one_of(*values: Any) -> Callable[[Any, np.random.Generator, datetime], Any]:
    return lambda old, rng, now: values[int(rng.integers(len(values)))]


# A field is missing when it is not there, empty or null.
FIELD_FAULTS: dict[str, Fault] = {
    "missing_event_time": ("event_time", _one_of(MISSING, "", None)),
    "bad_event_time": ("event_time", _one_of("2019-13-45 99:99:99 UTC", "yesterday", "2020-02-30 00:00:00 UTC")),
    "event_time_before_2015": ("event_time", _one_of("2014-12-31 23:59:59 UTC", "1970-01-01 00:00:00 UTC")),
    "event_time_24_00": ("event_time", _one_of("2019-10-01 24:00:00 UTC", "2019-10-01T24:00:00Z")),
    "event_time_leap_second": ("event_time", _one_of("2016-12-31 23:59:60 UTC", "2016-12-31T23:59:60Z")),
    "event_time_in_future": ("event_time", lambda old, rng, now: (now + timedelta(days=366)).strftime(TIME)),
    "missing_event_type": ("event_type", _one_of(MISSING, "", None)),
    "unknown_event_type": ("event_type", _one_of("wishlist", "Purchases", "0")),
    "missing_product_id": ("product_id", _one_of(MISSING, "", None)),
    "bad_product_id": ("product_id", _one_of("abc", "58o9910", "5809910.5")),
    "bad_category_id": ("category_id", _one_of("1.48758E+18", "none", "14875800048070828x7")),
    "missing_price": ("price", _one_of(MISSING, "", None)),
    "bad_price": ("price", _one_of("free", "5.24 USD", "5.241", "3,49")),
    "not_a_number": ("price", _one_of("NaN", "Infinity", "-inf")),
    "too_long": ("brand", lambda old, rng, now: "x" * int(rng.integers(256, 8_000))),
    "missing_user_id": ("user_id", _one_of(MISSING, "", None)),
    "bad_user_id": ("user_id", _one_of("anonymous", "0x1F", "12 34")),
}
VALUE_FAULTS: dict[str, Callable[[bytes, np.random.Generator], bytes | None]] = {
    "empty_value": lambda value, rng: (None, b"")[int(rng.integers(2))],
    "too_large": lambda value, rng: value[:-1] + b',"note":"' + b"x" * 2_000_000 + b'"}',
    "invalid_utf8": lambda value, rng: value.replace(b'"brand":"', b'"brand":"\xff\xfe', 1),
    "not_json": lambda value, rng: (b"oops", value[: len(value) // 2], value[:-1])[int(rng.integers(3))],
}
RULES = tuple(VALUE_FAULTS) + tuple(FIELD_FAULTS)


def records(batch: EventBatch) -> list[Record]:
    return [Record(key, value) for key, value in zip(batch.keys(), batch.json_values(), strict=True)]


def with_copies(good: Sequence[Record], share: float, seed: int, furthest: int = 1_000) -> list[Record]:
    """The records and exact copies of a share of them, each up to so many records later."""
    rng = np.random.default_rng(seed)
    copied = np.flatnonzero(rng.random(len(good)) < share)
    place = copied + 0.5 + rng.integers(0, furthest, len(copied))
    return _by_place([*good, *(good[i] for i in copied.tolist())], np.concatenate([np.arange(len(good)), place]))


def with_late(
    good: Sequence[Record], share: float, seed: int, shortest_s: float = 60.0, longest_s: float = 21 * 86_400.0
) -> list[Record]:
    """The same good records, a share of them later than their event time: minutes to weeks, evenly by order of size.

    A record is put where the others' event times have moved on by its delay; if they never do, it comes last.
    """
    rng = np.random.default_rng(seed)
    at_s = np.maximum.accumulate(np.array([_event_at(record).timestamp() for record in good]))
    late = np.flatnonzero(rng.random(len(good)) < share)
    delay_s = np.exp(rng.uniform(np.log(shortest_s), np.log(longest_s), len(late)))
    place = np.arange(len(good), dtype=float)
    place[late] = np.searchsorted(at_s, at_s[late] + delay_s) - 0.5
    return _by_place(good, place)


def with_broken(
    good: Sequence[Record], share: float, seed: int, now: datetime, rules: Sequence[str] = RULES
) -> list[Record]:
    """The records, a share of them broken. A third of those with field faults break several rules at once.

    :param now: the clock of whoever receives them, for a clock that is a year ahead.
    :param rules: the rules to break, taken in turn, so that each is broken as often as the others.
    """
    rng = np.random.default_rng(seed)
    result = list(good)
    for turn, index in enumerate(np.flatnonzero(rng.random(len(good)) < share).tolist()):
        result[index] = broken(good[index], rules[turn % len(rules)], rng, now, rules)
    return result


def broken(record: Record, rule: str, rng: np.random.Generator, now: datetime, others: Sequence[str] = ()) -> Record:
    """The good record, breaking this rule and, now and then, some of the others."""
    assert record.value is not None
    if rule in VALUE_FAULTS:
        return replace(record, value=VALUE_FAULTS[rule](record.value, rng), rules=(rule,))
    more = [name for name in others if name in FIELD_FAULTS]
    wanted = [rule]
    if more and rng.random() < 1 / 3:
        wanted += [more[i] for i in rng.integers(0, len(more), 3)]
    event = json.loads(record.value)
    done: dict[str, str] = {}
    for name in wanted:
        field, fault = FIELD_FAULTS[name]
        if field in done:
            continue
        done[field] = name
        event[field] = fault(event[field], rng, now)
    value = json.dumps({name: field for name, field in event.items() if field is not MISSING}).encode()
    return replace(record, value=value, rules=tuple(sorted(done.values())))


def _event_at(record: Record) -> datetime:
    return datetime.strptime(json.loads(record.value or b"")["event_time"], TIME).replace(tzinfo=UTC)


def _by_place(items: Sequence[Record], place: np.ndarray) -> list[Record]:
    return [items[i] for i in np.argsort(place, kind="stable").tolist()]
