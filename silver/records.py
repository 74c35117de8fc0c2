"""Bronze record -> fields as text -> typed values. Nothing here can fail: what cannot be read becomes null."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, MapType, StringType

from lakehouse.event_contract import FIELDS, OWN_ID, TIME_DAY, TIME_MINUTE, TIME_SECOND, TIME_ZONE
from lakehouse.framing import is_framed, schema_id
from lakehouse.schemas import CUT, PRICE
from lakehouse.settings import Settings
from silver import avro_values

Columns = dict[str, Column]

LONGEST_OWN_ID = 256


class _Bounds(NamedTuple):
    """How many unknown fields are kept, and characters of a name and of a value."""

    fields: int
    name_chars: int
    chars: int


# What Spark reads as it is, and nearly all times are.
_TIME = r"^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(\.\d{1,9})?( ?UTC| ?GMT|Z|[+-]\d{2}(:?\d{2})?)?$"
_IN_MINUTES = rf"(?i)^{TIME_DAY}{TIME_MINUTE}{TIME_ZONE}$"
_IN_SECONDS = rf"(?i)^{TIME_DAY}{TIME_MINUTE}{TIME_SECOND}{TIME_ZONE}$"
# Bounded, as a number of a million digits, or with an exponent of ten, keeps a core busy for ever.
# With at most 9 decimals and one digit of exponent, decimal(38,18) holds it exactly.
_DECIMAL = r"^[+-]?(\d{1,20}\.?\d{0,9}|\.\d{1,9})([eE][+-]?\d)?$"
# JSON's numbers with a point or an exponent come through a double. What was exact in it is up to 2^53; beyond, a whole
# number may be another one by now, unless it is text with all its digits.
_WHOLE_AS_DECIMAL = r"^[+-]?(\d{1,19}\.0{0,9}|\d(\.\d{1,15})?[eE]\+?\d{1,2})$"
_EXACT_DOUBLES = 2**53
NO_NUMBER = r'(?i)^"?[+-]?(nan|inf(inity)?)"?$'
_NO_NUMBER_TOKEN = r'^"[+-]?(NaN|INF|Infinity)"$'
"""NaN and the like where JSON has no quotes: they come with quotes, unlike a text of these letters."""

_SPACE = " \t\r\n"
_JSON = {"allowSingleQuotes": "false", "allowNonNumericNumbers": "true"}

# Each step of these functions is a projection of its own where its result is used more than once: Spark then computes
# it once, while inside one projection it would parse the JSON again for every use under a condition.
# The columns are made once a process: to name them to the JVM takes longer than to plan a small batch.


def with_fields(records: DataFrame, settings: Settings, schemas: Mapping[int, str]) -> DataFrame:
    """Adds `size_bytes`, `schema_id`, `has_schema`, `is_utf8` and `fields`, the members of the object as text.

    In and out: one row per record. `fields` is null when the value is no JSON object and no Avro record whose schema is
    known, is not UTF-8, or is larger than `max_value_bytes`. Empty text and null are the same: no value. A JSON object
    of exactly `schema` and `payload` is what Kafka Connect makes of another unless it is told not to: the members are
    those of its payload.

    :param schemas: those that Avro records may be read by, by their id in the registry.
    """
    for step in _parsing(settings.max_value_bytes, settings.unreadable_topic, tuple(sorted(schemas.items()))):
        records = records.withColumns(step)
    return records.drop("objects", "avro_fields", *map(_avro, schemas))


@lru_cache(maxsize=16)
def _parsing(max_value_bytes: int, unreadable_topic: str, schemas: tuple[tuple[int, str], ...]) -> tuple[Columns, ...]:
    json, is_ours = F.col("value").cast("string"), is_framed(unreadable_topic)
    is_small = F.col("size_bytes") <= max_value_bytes
    has_schema = F.when(is_ours, schema_id().isin([each for each, _ in schemas])) if schemas else F.lit(False)
    sizes = {
        "size_bytes": F.octet_length("value"),
        "is_utf8": F.is_valid_utf8(json) | is_ours,
        "schema_id": F.when(is_ours, schema_id()),
        "has_schema": F.coalesce(has_schema, F.lit(False)),
    }
    first = F.get("objects", F.lit(0))
    payload = F.try_element_at(first, F.lit("payload"))
    is_json = F.col("schema_id").isNull() & F.endswith(F.rtrim(json, F.lit(_SPACE)), F.lit("}"))
    is_wanted = F.col("is_utf8") & is_small & is_json
    steps = (
        sizes,
        {"objects": F.when(is_wanted, _parsed(json))},
        {"objects": F.when(_is_wrapped(first), _parsed(payload)).otherwise(F.col("objects"))},
        {"fields": F.when(F.size("objects") == 2, first)},
    )
    return (*steps, *_avro_parsing(is_small, dict(schemas)))


def _avro_parsing(is_small: Column, schemas: Mapping[int, str]) -> tuple[Columns, ...]:
    """What gives `fields` to the records of these schemas too."""
    readable = {each: event for each, schema in schemas.items() if (event := avro_values.event_type(schema))}
    if not readable:
        return ()
    decoded = {
        _avro(each): F.when((F.col("schema_id") == each) & is_small, avro_values.decoded(schemas[each]))
        for each in readable
    }
    found = [
        F.when(avro_values.is_whole(_avro(each)), avro_values.fields(_avro(each), event))
        for each, event in readable.items()
    ]
    are_utf8 = F.forall(F.map_values("avro_fields"), lambda text: F.coalesce(F.is_valid_utf8(text), F.lit(True)))
    return (
        decoded,
        {"avro_fields": F.coalesce(*found)},
        {"is_utf8": F.coalesce(are_utf8, "is_utf8")},
        {"fields": F.coalesce("fields", F.when(F.col("is_utf8"), F.col("avro_fields")))},
    )


def _avro(schema_id: int) -> str:
    return f"avro_{schema_id}"


def _parsed(text: Column) -> Column:
    # Parsed alone, text after the object would pass unseen. As the first of two elements of an array it cannot.
    in_array = F.concat(F.lit("["), text, F.lit(",{}]"))
    return F.from_json(in_array, ArrayType(MapType(StringType(), StringType())), _JSON)


def _is_wrapped(first: Column) -> Column:
    is_pair = (F.size("objects") == 2) & (F.size(first) == 2)
    return is_pair & F.array_contains(F.map_keys(first), "schema") & F.array_contains(F.map_keys(first), "payload")


def with_values(records: DataFrame, settings: Settings) -> DataFrame:
    """Adds the text of each of the nine fields as `<name>_text`, its typed value, `own_id`, and `extras`.

    In and out: one row per record with `fields`. event_at is UTC; price is USD. A value that cannot be read is null
    while its text is not: that difference is what the rules look at. `extras` are cut to what the settings allow; then
    `_cut` among them says what there was.
    """
    bounds = _Bounds(settings.max_extras, settings.max_text_chars, settings.max_extra_chars)
    texts, numbers, values = _reading(bounds)
    return records.withColumns(texts).withColumns(numbers).withColumns(values).drop("unknown", *numbers)


@lru_cache(maxsize=16)
def _reading(bounds: _Bounds) -> tuple[Columns, Columns, Columns]:
    known = (*FIELDS, OWN_ID)
    exact = F.col("exact_price")
    return (
        {f"{name}_text": _field(name) for name in FIELDS}
        | {
            f"{name}_text": _unless(_field(name), _NO_NUMBER_TOKEN)
            for name in ("category_code", "brand", "user_session")
        }
        | {"category_id_text": _unless(_field("category_id"), NO_NUMBER)}
        | {"unknown": F.array_except(F.map_keys("fields"), F.array(*map(F.lit, known)))},
        {"exact_price": _decimal(F.col("price_text"))},
        {
            "event_at": _timestamp(F.col("event_time_text")),
            "event_type": F.col("event_type_text"),
            "product_id": _whole(F.col("product_id_text")),
            "category_id": _whole(F.col("category_id_text")),
            "category_code": _composed(F.col("category_code_text"), bounds.name_chars),
            "brand": _composed(F.col("brand_text"), bounds.name_chars),
            "price": F.when(exact.try_cast(PRICE) == exact, exact).cast(PRICE),
            "user_id": _whole(F.col("user_id_text")),
            "user_session": _composed(F.col("user_session_text"), bounds.name_chars),
            "own_id": _composed(_field(OWN_ID), LONGEST_OWN_ID),
            "extras": F.when(F.size("unknown") > 0, _bounded(known, bounds)),
        },
    )


def _field(name: str) -> Column:
    return F.nullif(F.trim(F.try_element_at("fields", F.lit(name)), F.lit(_SPACE)), F.lit(""))


def _unless(text: Column, pattern: str) -> Column:
    return F.when(~text.rlike(pattern), text)


def _bounded(known: tuple[str, ...], bounds: _Bounds) -> Column:
    """The unknown fields, cut to the bounds. A field is not known by a part of its name: one with a long name goes."""
    unknown = F.map_filter("fields", lambda name, _: ~name.isin(*known))
    is_small = (
        (F.size("unknown") <= bounds.fields)
        & F.forall("unknown", lambda name: F.char_length(name) <= bounds.name_chars)
        & F.forall(F.map_values(unknown), lambda value: F.coalesce(F.char_length(value), F.lit(0)) <= bounds.chars)
    )
    names = F.filter("unknown", lambda name: (F.char_length(name) <= bounds.name_chars) & (name != CUT))
    kept = F.map_filter(unknown, lambda name, _: F.array_contains(F.slice(names, 1, bounds.fields), name))
    shortened = F.transform_values(kept, lambda _, value: F.left(value, F.lit(bounds.chars)))
    there_was = F.concat(F.size("unknown").cast("string"), F.lit(" fields in "), F.col("size_bytes").cast("string"))
    mark = F.create_map(F.lit(CUT), F.concat(there_was, F.lit(" bytes")))
    # Names that are there twice cannot be put together. Such a record is refused.
    is_map = F.size(F.array_distinct(F.map_keys("fields"))) == F.size("fields")
    return F.when(is_small, unknown).when(is_map, F.map_concat(shortened, mark))


def _timestamp(text: Column) -> Column:
    written_out = (
        F.when(text.rlike(_TIME), text)
        # A digit more is a fraction, and none less of one.
        .when(text.rlike(_IN_SECONDS), F.regexp_replace(text, _IN_SECONDS, "$1 $2:$3.$40$5"))
        .when(text.rlike(_IN_MINUTES), F.regexp_replace(text, _IN_MINUTES, "$1 $2:00$3"))
    )
    return written_out.try_cast("timestamp")


def _whole(text: Column) -> Column:
    exact = F.when(text.rlike(_WHOLE_AS_DECIMAL), text.try_cast("decimal(38,18)"))
    is_exact = (F.abs(exact) < _EXACT_DOUBLES) | text.rlike(r"\.0*$")
    number = exact.try_cast("bigint")
    return F.coalesce(text.try_cast("bigint"), F.when(is_exact & (number == exact), number))


def _decimal(text: Column) -> Column:
    return F.when(text.rlike(_DECIMAL), text.try_cast("decimal(38,18)"))


def _composed(text: Column, longest: int) -> Column:
    """Unicode form NFC. Spark has no such function, but carries ICU; plain ASCII, nearly all text, skips the call, and
    so does what is longer than a rule allows: ICU takes a time that grows with the square of the length.
    """
    composed = F.reflect(F.lit("com.ibm.icu.text.Normalizer"), F.lit("compose"), text, F.lit(False))
    length = F.char_length(text)
    return F.when((F.octet_length(text) > length) & (length <= longest), composed).otherwise(text)
