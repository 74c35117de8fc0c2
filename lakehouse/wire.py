"""Rows -> bytes on Kafka: money as text with two decimals, times as ISO 8601 in UTC, keys as text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any


def to_json(row: Mapping[str, Any]) -> bytes:
    """A row as one JSON object, in the order of its columns. `extras`, JSON text in a table, is an object here."""
    return json.dumps({name: plain(value) for name, value in row.items()}, separators=(",", ":")).encode()


def to_key(*parts: Any) -> bytes:
    """The key of a row: its key columns as text, joined by `|`."""
    return "|".join(str(plain(part)) for part in parts).encode()


def plain(value: Any) -> Any:
    """A value as JSON has it. Bytes are shown as text, or in hex when they are none."""
    if isinstance(value, Decimal):
        return f"{value:.2f}"
    if isinstance(value, datetime):
        return iso_utc(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {name: json.loads(each) if name == "extras" and each else plain(each) for name, each in value.items()}
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.hex()
    return value


def iso_utc(at: datetime) -> str:
    """ISO 8601 with a Z, fractions only where there are any. A time without a zone is in UTC."""
    utc = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    return utc.isoformat().replace("+00:00", "Z")
