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
    LongType: {"type": "integer"},
    StringType: {"type": "string"},
    BooleanType: {"type": "boolean"},
    DoubleType: {"type": "number"},
    DecimalType: {"type": "string", "pattern": r"^-?\d+\.\d{2}$"},
    TimestampType: {"type": "string", "format": "date-time"},
    DateType: {"type": "string", "format": "date"},
}


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
        kind: dict[str, Any] = {"type": "object"} if field.metadata.get("json") else _kind(field.dataType)
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


def _kind(kind: DataType) -> dict[str, Any]:
    if isinstance(kind, StructType):
        return _object(kind)
    if isinstance(kind, ArrayType):
        return {"type": "array", "items": _kind(kind.elementType)}
    return dict(_KINDS[type(kind)])


if __name__ == "__main__":
    for each in PUBLISHED:
        path_of(each).write_text(text_of(each), encoding="utf-8")
