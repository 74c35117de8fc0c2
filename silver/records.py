"""Bronze record -> fields as text -> typed values. Nothing here can fail: what cannot be read becomes null."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, MapType, StringType

from lakehouse.framing import is_framed, schema_id
from lakehouse.schemas import PRICE
from lakehouse.settings import Settings
from silver import avro_values

Columns = dict[str, Column]

FIELDS = (
    "event_time",
    "event_type",
    "product_id",
    "category_id",
    "category_code",
    "brand",
    "price",
    "user_id",
    "user_session",
)
OWN_ID = "event_id"
"""The field in which a producer may send an id of its own for the event."""

_TIME = (
    r"^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(\.\d{1,9})?"
    r"( ?UTC| ?GMT|Z|[+-]\d{2}:?\d{2})?$"
)
# Bounded, as a number of a million digits, or with an exponent of ten, keeps a core busy for ever.
# With at most 9 decimals and one digit of exponent, decimal(38,18) holds it exactly.
_DECIMAL = r"^[+-]?(\d{1,20}\.?\d{0,9}|\.\d{1,9})([eE][+-]?\d)?$"
_SPACE = " \t\r\n"
_STRICT_JSON = {"allowSingleQuotes": "false", "allowNonNumericNumbers": "false"}

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
    return F.from_json(in_array, ArrayType(MapType(StringType(), StringType())), _STRICT_JSON)


def _is_wrapped(first: Column) -> Column:
    is_pair = (F.size("objects") == 2) & (F.size(first) == 2)
    return is_pair & F.array_contains(F.map_keys(first), "schema") & F.array_contains(F.map_keys(first), "payload")


def with_values(records: DataFrame) -> DataFrame:
    """Adds the text of each of the nine fields as `<name>_text`, its typed value, `own_id`, and `extras`.

    In and out: one row per record with `fields`. event_at is UTC; price is USD. A value that cannot be read is null
    while its text is not: that difference is what the rules look at.
    """
    texts, numbers, values = _reading()
    return records.withColumns(texts).withColumns(numbers).withColumns(values).drop("unknown", *numbers)


@cache
def _reading() -> tuple[Columns, Columns, Columns]:
    known = (*FIELDS, OWN_ID)
    exact = F.col("exact_price")
    return (
        {f"{name}_text": _field(name) for name in FIELDS}
        | {"unknown": F.array_except(F.map_keys("fields"), F.array(*map(F.lit, known)))},
        {"exact_price": _decimal(F.col("price_text"))},
        {
            "event_at": _timestamp(F.col("event_time_text")),
            "event_type": F.col("event_type_text"),
            "product_id": F.col("product_id_text").try_cast("bigint"),
            "category_id": F.col("category_id_text").try_cast("bigint"),
            "category_code": _composed(F.col("category_code_text")),
            "brand": _composed(F.col("brand_text")),
            "price": F.when(exact.try_cast(PRICE) == exact, exact).cast(PRICE),
            "user_id": F.col("user_id_text").try_cast("bigint"),
            "user_session": _composed(F.col("user_session_text")),
            "own_id": _composed(_field(OWN_ID)),
            "extras": F.when(F.size("unknown") > 0, F.map_filter("fields", lambda name, _: ~name.isin(*known))),
        },
    )


def _field(name: str) -> Column:
    return F.nullif(F.trim(F.try_element_at("fields", F.lit(name)), F.lit(_SPACE)), F.lit(""))


def _timestamp(text: Column) -> Column:
    return F.when(text.rlike(_TIME), text.try_cast("timestamp"))


def _decimal(text: Column) -> Column:
    return F.when(text.rlike(_DECIMAL), text.try_cast("decimal(38,18)"))


def _composed(text: Column) -> Column:
    """Unicode form NFC. Spark has no such function, but carries ICU; plain ASCII, nearly all text, skips the call."""
    composed = F.reflect(F.lit("com.ibm.icu.text.Normalizer"), F.lit("compose"), text, F.lit(False))
    return F.when(F.octet_length(text) > F.char_length(text), composed).otherwise(text)
