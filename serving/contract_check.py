"""The contract of a gold topic, compiled: is a record's value a row that gold could have written?"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from lakehouse.contract import json_schema
from lakehouse.tables import Table

Check = Callable[[Any], bool]

_LONGEST_TIME, _KNOWN_TIMES = len("2026-01-31T12:00:00.123456Z"), 4096
"""Rows of a batch have most of their times in common."""


class ContractCheck:
    """Of one table. Made once: it is asked for each record."""

    def __init__(self, table: Table) -> None:
        properties = json_schema(table)["properties"]
        self._columns = tuple((name, _compiled(each)) for name, each in properties.items())
        self._names = properties.keys()
        self._keys = tuple((name, _text_of(properties[name])) for name in table.keys)

    def fault(self, row: object) -> str:
        """Why this is no row of the table, without any of its values; empty if it is one."""
        if type(row) is not dict:
            return "it is no JSON object"
        if row.keys() != self._names:
            return "its columns are not those of the contract"
        for name, is_right in self._columns:
            if not is_right(row[name]):
                return f"{name} is not as the contract has it"
        return ""

    def key_of(self, row: Mapping[str, Any]) -> str:
        """The key of a row that has no fault."""
        return "|".join([str(row[name]) for name, _ in self._keys])

    def is_key(self, text: str) -> bool:
        """Could a row have this key? Of a record without a value nothing else is known."""
        parts = text.split("|", len(self._keys) - 1)  # text that may hold the sign comes last
        return len(parts) == len(self._keys) and all(
            is_right(part) for (_, is_right), part in zip(self._keys, parts, strict=True)
        )


def _compiled(schema: Mapping[str, Any]) -> Check:
    """What we write of JSON Schema. Not a library's check: that takes a hundred times as long."""
    kinds = schema["type"]
    if isinstance(kinds, list):
        is_right = _compiled({**schema, "type": kinds[0]})
        return lambda value: value is None or is_right(value)
    return {
        "string": _text,
        "integer": _integer,
        "number": lambda _: _is_number,
        "boolean": lambda _: lambda value: value is True or value is False,
        "array": _array,
        "object": _object,
    }[kinds](schema)


def _text(schema: Mapping[str, Any]) -> Check:
    if "pattern" not in schema:
        most = schema["maxLength"]
        return lambda value: type(value) is str and len(value) <= most
    matches = re.compile(schema["pattern"].removeprefix("^").removesuffix("$"), re.ASCII).fullmatch
    read = {"date-time": datetime.fromisoformat, "date": date.fromisoformat}.get(schema.get("format", ""))
    if read is None:
        return lambda value: type(value) is str and matches(value) is not None

    @lru_cache(_KNOWN_TIMES)
    def is_time(text: str) -> bool:
        try:
            return matches(text) is not None and read(text) is not None
        except ValueError:  # 30 February
            return False

    return lambda value: type(value) is str and len(value) <= _LONGEST_TIME and is_time(value)


def _integer(schema: Mapping[str, Any]) -> Check:
    least, most = schema["minimum"], schema["maximum"]
    return lambda value: type(value) is int and least <= value <= most


def _is_number(value: object) -> bool:
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and -(2**63) <= value < 2**63)


def _array(schema: Mapping[str, Any]) -> Check:
    is_right = _compiled(schema["items"])
    return lambda value: type(value) is list and all(map(is_right, value))


def _object(schema: Mapping[str, Any]) -> Check:
    if "properties" not in schema:
        most, is_value = schema["maxProperties"], _compiled(schema["additionalProperties"])
        return lambda value: type(value) is dict and len(value) <= most and all(map(is_value, value.values()))
    names = schema["properties"].keys()
    columns = tuple((name, _compiled(each)) for name, each in schema["properties"].items())
    return lambda value: (
        type(value) is dict and value.keys() == names and all(is_right(value[name]) for name, is_right in columns)
    )


def _text_of(schema: Mapping[str, Any]) -> Check:
    """The same of a value that is written as text in a key."""
    is_right = _compiled(schema)
    if schema["type"] != "integer":
        return is_right
    is_written = re.compile(r"0|-?[1-9][0-9]{0,18}").fullmatch
    return lambda text: is_written(text) is not None and is_right(int(text))
