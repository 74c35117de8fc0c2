"""Bronze record -> fields as text -> typed values. Nothing here can fail: what cannot be read becomes null."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, MapType, StringType

from lakehouse.schemas import PRICE

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
_TIME = (
    r"^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(\.\d{1,9})?"
    r"( ?UTC| ?GMT|Z|[+-]\d{2}:?\d{2})?$"
)
_INTEGER = r"^[+-]?\d{1,19}$"
_STRICT_JSON = {"allowSingleQuotes": "false", "allowNonNumericNumbers": "false"}
_DECIMAL = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?$"


def with_fields(records: DataFrame, max_value_bytes: int) -> DataFrame:
    """Adds `size_bytes`, `is_utf8` and `fields`, the JSON object's members as text.

    In and out: one row per record. `fields` is null when the value is no JSON object, is not UTF-8, or is larger than
    `max_value_bytes`. Empty text and JSON null are the same: no value.
    """
    text = F.col("value").cast("string")
    is_small = F.octet_length("value") <= max_value_bytes
    return records.withColumns(
        {
            "size_bytes": F.octet_length("value"),
            "is_utf8": F.is_valid_utf8(text),
            "fields": F.when(is_small & F.is_valid_utf8(text), _object_members(text)),
        }
    )


def _object_members(text: Column) -> Column:
    # Parsed alone, text after the first object would pass unseen; as the only element of an array it cannot.
    objects = F.from_json(
        F.concat(F.lit("["), text, F.lit("]")), ArrayType(MapType(StringType(), StringType())), _STRICT_JSON
    )
    return F.when(F.size(objects) == 1, F.get(objects, F.lit(0)))


def with_values(records: DataFrame) -> DataFrame:
    """Adds the text of each of the nine fields as `<name>_text`, its typed value, and `extras`.

    In and out: one row per record with `fields`. event_at is UTC; price is USD. A value that cannot be read is null
    while its text is not: that difference is what the rules look at.
    """
    texts = records.withColumns({f"{name}_text": _field(name) for name in FIELDS} | {"extras": _extras()})
    return texts.withColumns(
        {
            "event_at": _timestamp(F.col("event_time_text")),
            "event_type": F.col("event_type_text"),
            "product_id": _integer(F.col("product_id_text")),
            "category_id": _integer(F.col("category_id_text")),
            "category_code": _composed(F.col("category_code_text")),
            "brand": _composed(F.col("brand_text")),
            "price": _price(F.col("price_text")),
            "user_id": _integer(F.col("user_id_text")),
            "user_session": _composed(F.col("user_session_text")),
        }
    )


def _field(name: str) -> Column:
    return F.nullif(F.trim(F.try_element_at("fields", F.lit(name)), F.lit(" \t\r\n")), F.lit(""))


def _extras() -> Column:
    unknown = F.map_filter("fields", lambda name, _: ~name.isin(*FIELDS))
    return F.when(F.size(unknown) > 0, unknown)


def _timestamp(text: Column) -> Column:
    return F.when(text.rlike(_TIME), text.try_cast("timestamp"))


def _integer(text: Column) -> Column:
    return F.when(text.rlike(_INTEGER), text.try_cast("bigint"))


def _price(text: Column) -> Column:
    exact = F.when(text.rlike(_DECIMAL), text.try_cast("decimal(38,18)"))
    rounded = exact.try_cast(PRICE)
    return F.when(rounded == exact, rounded)


def _composed(text: Column) -> Column:
    """Unicode form NFC. Spark has no such function, but carries ICU; plain ASCII, nearly all text, skips the call."""
    composed = F.reflect(F.lit("com.ibm.icu.text.Normalizer"), F.lit("compose"), text, F.lit(False))
    return F.when(text.rlike(r"[^\x00-\x7F]"), composed).otherwise(text)
