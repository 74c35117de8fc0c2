"""Avro records -> fields as text, so that one reading, one set of rules and one identity serve both forms."""

from __future__ import annotations

import json
import logging
from functools import cache

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.avro.functions import from_avro
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    DataType,
    MapType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from lakehouse.framing import avro_value

_PERMISSIVE = {"mode": "PERMISSIVE"}
# Bytes that no part of them repeats: what stands behind a value is then never taken for them.
_END = bytes(range(0xE0, 0xF0))
_TIME, _LOCAL_TIME = "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX", "yyyy-MM-dd'T'HH:mm:ss.SSSSSS"
_AS_JSON = {"ignoreNullFields": "false", "timestampFormat": _TIME, "timestampNTZFormat": _LOCAL_TIME}

log = logging.getLogger("lakehouse")


def decoded(schema: str) -> Column:
    """A framed record, read by its writer's schema: `event`, and `end`, by which `is_whole` tells that all was read.

    Read alone, bytes after the value would pass unseen. As the first of two fields it cannot have any.
    """
    return from_avro(F.concat(avro_value(), F.lit(_END)), _with_end(schema), _PERMISSIVE)


def is_whole(name: str) -> Column:
    """Could the record whose `decoded` has this name be read, from its first byte to its last?"""
    return F.coalesce(F.col(f"{name}.end") == F.lit(_END), F.lit(False))


def fields(name: str, event: StructType) -> Column:
    """The fields of the record whose `decoded` has this name, as a map of text: what JSON would say, digit by digit."""
    names = [each.name for each in event.fields]
    texts = [_text(F.col(name)["event"][each.name], each.dataType) for each in event.fields]
    return F.map_from_arrays(F.array(*map(F.lit, names)), F.array(*texts))


def _text(value: Column, kind: DataType) -> Column:
    if isinstance(kind, TimestampType):
        return F.date_format(value, _TIME)
    if isinstance(kind, TimestampNTZType):
        return F.date_format(value, _LOCAL_TIME)
    if isinstance(kind, BinaryType):
        return F.base64(value)
    if isinstance(kind, ArrayType | MapType | StructType):
        return F.to_json(value, _AS_JSON)
    return value.cast("string")


@cache
def event_type(schema: str) -> StructType | None:
    """What Spark reads by this schema; None of one that is no record with fields, no Avro, or beyond Spark."""
    try:
        read = from_avro(F.lit(b""), _with_end(schema), _PERMISSIVE)
        both = SparkSession.active().range(0).select(read.alias("both")).schema["both"].dataType
    except (PySparkException, Py4JError, ValueError, RecursionError) as error:  # the last: it is nested too deeply
        log.warning("silver: a schema cannot be read, its records are refused: %s", " ".join(str(error).split())[:500])
        return None
    event = both["event"].dataType  # type: ignore[index]
    return event if isinstance(event, StructType) and event.fields else None


def _with_end(schema: str) -> str:
    """:raises ValueError: it is not JSON."""
    end = {"type": "fixed", "name": "end_of_lakehouse_value", "size": len(_END)}
    fields = [{"name": "event", "type": json.loads(schema)}, {"name": "end", "type": end}]
    return json.dumps({"type": "record", "name": "lakehouse_value", "fields": fields})
