"""The time of an event as files have it, in the forms that silver reads."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

from lakehouse.event_contract import TIME_DAY, TIME_MINUTE, TIME_SECOND, TIME_ZONE

_TIME = re.compile(rf"{TIME_DAY}{TIME_MINUTE}(?:{TIME_SECOND})?{TIME_ZONE}", re.ASCII | re.IGNORECASE)


def read_time(text: str) -> datetime | None:
    """An event_time in UTC; without a zone it is UTC. None for what silver would not read either."""
    found = _TIME.fullmatch(text.strip(" \t\r\n"))
    if found is None:
        return None
    day, minute, second, fraction, offset = found.groups()
    text = f"{day} {minute}:{second or '00'}.{fraction or '0':0<6}{offset or '+00:00'}"
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=4096)  # many rows have the same second
def utc_day(event_time: bytes) -> str:
    """`2019-10-01` of `2019-10-01 00:00:00 UTC`; empty when it is no time."""
    at = read_time(event_time.decode("utf-8", errors="replace"))
    return at.strftime("%Y-%m-%d") if at else ""
