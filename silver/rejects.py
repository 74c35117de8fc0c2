"""The rules that a record must keep to be an event. A record that breaks one goes to quarantine, with all it breaks."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time

from pyspark.sql import Column
from pyspark.sql import functions as F

from lakehouse.clock import us_of
from lakehouse.event_contract import EVENT_TYPES, NEEDED_FIELDS
from lakehouse.settings import Settings
from silver.records import LONGEST_OWN_ID, NO_NUMBER

CONFLICT = "conflict"
NO_SCHEMA = ("unknown_schema", "no_registry")
"""The rules that an Avro record breaks whose schema we do not have."""
_NO_INTEGER = "{} is not an integer of 64 bits, or is a decimal from 2^53 on: send it as an integer or as text."
TEXTS = ("category_code", "brand", "user_session")
_AT_24 = r"^\d{4}-\d{2}-\d{2}[ Tt]24:"
_AT_60 = r"^\d{4}-\d{2}-\d{2}[ Tt]\d{2}:\d{2}:60"
_NO_MOMENT = f"{NO_NUMBER}|{_AT_24}|{_AT_60}"


@dataclass(frozen=True)
class Rule:
    """:param is_broken: a predicate over a record with values (`silver.records`); null counts as not broken."""

    name: str
    sentence: str
    is_broken: Callable[[Settings], Column]


def _or(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _is_object(broken: Callable[[Settings], Column]) -> Callable[[Settings], Column]:
    """Rules about fields speak only of objects: another record breaks `not_json` or one of Avro's, not them all."""
    return lambda settings: F.col("fields").isNotNull() & broken(settings)


def _no_schema(is_broken: Callable[[Settings], bool]) -> Callable[[Settings], Column]:
    return lambda settings: F.col("schema_id").isNotNull() & ~F.col("has_schema") & F.lit(is_broken(settings))


def _missing(name: str) -> Rule:
    return Rule(
        f"missing_{name}",
        f"{name} has no value.",
        _is_object(lambda _: F.col(f"{name}_text").isNull()),
    )


def _bad(name: str, column: str, sentence: str, unless: str = NO_NUMBER) -> Rule:
    """:param unless: texts for which there is a rule of their own."""
    return Rule(
        f"bad_{name}",
        sentence,
        lambda _: ~F.col(f"{name}_text").rlike(unless) & F.col(column).isNull(),
    )


RULES = (
    Rule(
        "unreadable",
        "The file source could not read it as a row.",
        lambda settings: F.col("topic") == settings.unreadable_topic,
    ),
    Rule(
        "empty_value",
        "The record has no value.",
        lambda _: F.coalesce(F.col("size_bytes"), F.lit(0)) == 0,
    ),
    Rule(
        "too_large",
        "The value is larger than the setting max_value_bytes.",
        lambda settings: F.col("size_bytes") > settings.max_value_bytes,
    ),
    Rule("invalid_utf8", "The value is not UTF-8.", lambda _: ~F.col("is_utf8")),
    Rule(
        "not_json",
        "The value is not one JSON object.",
        lambda settings: (
            F.col("fields").isNull()
            & F.col("schema_id").isNull()
            & F.col("is_utf8")
            & F.col("size_bytes").between(1, settings.max_value_bytes)
            & (F.col("topic") != settings.unreadable_topic)
        ),
    ),
    Rule(
        NO_SCHEMA[0],
        "It is Avro, and the schema registry denies the id of its schema.",
        _no_schema(lambda settings: bool(settings.registry_url)),
    ),
    Rule(
        NO_SCHEMA[1],
        "It is Avro of a schema that is not in bronze.schemas, and no schema registry is set.",
        _no_schema(lambda settings: not settings.registry_url),
    ),
    Rule(
        "unreadable_avro",
        "It cannot be read by the schema whose id it has.",
        lambda settings: (
            F.col("has_schema")
            & F.col("fields").isNull()
            & F.col("is_utf8")
            & (F.col("size_bytes") <= settings.max_value_bytes)
        ),
    ),
    Rule(
        "repeated_field",
        "A field is named twice: which of its values is meant, nobody can tell.",
        _is_object(lambda _: F.size(F.array_distinct(F.map_keys("fields"))) < F.size(F.map_keys("fields"))),
    ),
    _missing("event_time"),
    _bad("event_time", "event_at", "event_time is no time such as 2019-10-01 00:00:00 UTC or ISO 8601.", _NO_MOMENT),
    Rule(
        "event_time_24_00",
        "event_time is at 24:00: write 00:00 of the next day.",
        lambda _: F.col("event_time_text").rlike(_AT_24) & F.col("event_at").isNull(),
    ),
    Rule(
        "event_time_leap_second",
        "event_time is in a leap second, which UTC's clocks here do not have: write second 59.",
        lambda _: F.col("event_time_text").rlike(_AT_60) & F.col("event_at").isNull(),
    ),
    Rule("event_time_before_2015", "event_time is before 2015.", lambda _: F.year("event_at") < 2015),
    Rule(
        "event_time_before_store",
        "event_time is before the day of the setting store_opened_on.",
        lambda settings: (
            (F.year("event_at") >= 2015)
            & (F.unix_micros("event_at") < us_of(datetime.combine(settings.store_opened_on, time(), UTC)))
        ),
    ),
    Rule(
        "event_time_in_future",
        "event_time is ahead of Kafka's clock by more than the setting future_tolerance_s.",
        lambda settings: (
            F.unix_micros("event_at") > F.unix_micros("kafka_at") + settings.future_tolerance_s * 1_000_000
        ),
    ),
    _missing("event_type"),
    Rule(
        "unknown_event_type",
        f"event_type is none of {', '.join(EVENT_TYPES)}.",
        lambda _: ~F.col("event_type").isin(*EVENT_TYPES) & ~F.col("event_type").rlike(NO_NUMBER),
    ),
    _missing("product_id"),
    _bad("product_id", "product_id", _NO_INTEGER.format("product_id")),
    _bad("category_id", "category_id", _NO_INTEGER.format("category_id")),
    _missing("price"),
    _bad("price", "price", "price is not a number below 100 million with at most two decimals."),
    _missing("user_id"),
    _bad("user_id", "user_id", _NO_INTEGER.format("user_id")),
    Rule(
        "not_a_number",
        f"{_or(NEEDED_FIELDS)} is NaN or Infinity, which is no value: fill it in, or leave the event out.",
        lambda _: functools.reduce(operator.or_, (F.col(f"{name}_text").rlike(NO_NUMBER) for name in NEEDED_FIELDS)),
    ),
    Rule(
        "too_long",
        f"{_or(TEXTS)} is longer than the setting max_text_chars.",
        lambda settings: functools.reduce(
            operator.or_,
            (F.coalesce(F.char_length(f"{name}_text"), F.lit(0)) > settings.max_text_chars for name in TEXTS),
        ),
    ),
    Rule(
        "bad_event_id",
        f"event_id, the producer's own, is longer than {LONGEST_OWN_ID} characters.",
        lambda _: F.char_length("own_id") > LONGEST_OWN_ID,
    ),
)


CONFLICTING_ID = Rule(
    "conflicting_id",
    "event_id, the producer's own, is that of an earlier event which says something else.",
    lambda _: F.col("verdict") == CONFLICT,
)
"""Known only when a record that keeps all other rules is compared with the events before it (silver.refine)."""


@functools.cache
def reasons(settings: Settings) -> Column:
    """The names of all rules that a record with values breaks, in the rules' order; an empty array for an event."""
    broken = [F.coalesce(rule.is_broken(settings), F.lit(False)) for rule in RULES]
    names = [F.when(is_broken, F.lit(rule.name)) for is_broken, rule in zip(broken, RULES, strict=True)]
    # The list is made for the few that break a rule; for the others one look at all rules is enough.
    any_broken = functools.reduce(operator.or_, broken)
    return F.when(any_broken, F.array_compact(F.array(*names))).otherwise(F.array().cast("array<string>"))
