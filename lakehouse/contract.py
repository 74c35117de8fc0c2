"""What a record of each gold topic is, as JSON Schema: made from the tables' columns, kept in `lakehouse/contracts/`.

`python -m lakehouse.contract` writes the files. A version that was released does not change: a column that is added
makes a new version, and readers of the old one are told in the changelog.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    LongType,
    StringType,
    StructType,
    TimestampType,
)

from lakehouse.tables import PUBLISHED, Table

FOLDER = Path(__file__).parent / "contracts"
VERSION = 1

_KINDS: dict[type[DataType], dict[str, Any]] = {
    # Silver takes 256 characters at most; Unicode's form NFC makes at most three of one. An index takes that anywhere.
    StringType: {"type": "string", "maxLength": 3 * 256},
    BooleanType: {"type": "boolean"},
    DoubleType: {"type": "number"},
    TimestampType: {
        "type": "string",
        "format": "date-time",
        "pattern": r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z$",
    },
    DateType: {"type": "string", "format": "date", "pattern": r"^20\d\d-\d\d-\d\d$"},
}

_IDS, _REVISIONS, _COUNTS = (-(2**63), 2**63 - 1), (0, 2**53 - 1), (0, 10**12)
"""Smallest and greatest whole numbers: of columns named `..._id`, of `revision`, of all others."""

_MOST_DIGITS = 16
"""Of an amount before the point: cents fit into 64 bits."""

_EXTRAS = {
    "type": "object",
    "maxProperties": 257,
    "additionalProperties": {"type": ["string", "null"], "maxLength": 4096},
}
"""The fields of a purchase that we do not know, and `_cut`."""


def json_schema(table: Table) -> dict[str, Any]:
    """The value of a record of the table's topic: one flat object, all columns there."""
    topic = table.topic_name
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"{topic}.v{VERSION}",
        "title": topic,
        "description": f"One record per {table.grain}, keyed by {'|'.join(table.keys)}; keep the highest revision of"
        " each key. A record without a value withdraws its key.",
        **_object(table.schema),
    }


def path_of(table: Table) -> Path:
    return FOLDER / f"{json_schema(table)['$id']}.json"


def text_of(table: Table) -> str:
    return json.dumps(json_schema(table), indent=2) + "\n"


def _object(schema: StructType) -> dict[str, Any]:
    properties = {}
    for field in schema.fields:
        kind = dict(_EXTRAS) if field.metadata.get("json") else _kind(field.name, field.dataType)
        if field.metadata.get("may_be_null"):
            kind["type"] = [kind["type"], "null"]
        if "comment" in field.metadata:
            kind["description"] = field.metadata["comment"]
        properties[field.name] = kind
    return {
        "type": "object",
        "properties": properties,
        "required": schema.fieldNames(),
        "additionalProperties": False,
    }


def _kind(name: str, kind: DataType) -> dict[str, Any]:
    if isinstance(kind, StructType):
        return _object(kind)
    if isinstance(kind, ArrayType):
        return {"type": "array", "items": _kind(name, kind.elementType)}
    if isinstance(kind, LongType):
        least, most = _IDS if name.endswith("_id") else _REVISIONS if name == "revision" else _COUNTS
        return {"type": "integer", "minimum": least, "maximum": most}
    if isinstance(kind, DecimalType):
        digits = min(kind.precision - kind.scale, _MOST_DIGITS)
        return {"type": "string", "pattern": rf"^-?\d{{1,{digits}}}\.\d{{{kind.scale}}}$"}
    return dict(_KINDS[type(kind)])


if __name__ == "__main__":
    for each in PUBLISHED:
        path_of(each).write_text(text_of(each), encoding="utf-8")
