"""What the sink says to whoever listens to the store: after each batch, in its transaction, what it changed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from lakehouse.tables import GOLD_PRODUCT_SALES, PUBLISHED
from serving.merge import Incoming

CHANNEL = "gold_changed"

_MOST_WINDOWS, _MOST_PAYMENTS = 150, 200
"""PostgreSQL takes 8,000 bytes. The windows are short: a record whose key is none of its table does not get here."""

MOST_TOGETHER = 2_000
"""Windows and payments of several notices: to add one more costs little, however many come."""

_MOST_MS = 4_102_444_800_000
"""The year 2100."""


@dataclass(frozen=True)
class Notice:
    """A batch.

    :param tables: names of the tables that it changed.
    :param windows: starts of the windows of gold.product_sales that it changed; None: too many to name, or all.
    :param paid_at_ms: when Kafka had the payments that it shows for the first time, or a sample of them.
    :param stored_at_ms: when it was stored.
    """

    tables: frozenset[str]
    windows: frozenset[datetime] | None
    paid_at_ms: tuple[int, ...]
    stored_at_ms: int


EVERYTHING = Notice(frozenset(table.name for table in PUBLISHED), None, (), 0)
"""Nobody can say what has changed: all is to be read anew."""


def notice_text(records: dict[str, list[Incoming]], stored_at_ms: int) -> str:
    """In: the batch's records by table; none of a table that was emptied. Out: the notice as JSON.

    The windows are in the keys, so a withdrawn row names its window too.
    """
    sales = records.get(GOLD_PRODUCT_SALES.name)
    windows = sorted({record.key.split("|")[0] for record in sales or ()})
    is_named = sales is None or 0 < len(windows) <= _MOST_WINDOWS
    paid = sorted(each.paid_at_us // 1000 for each in sales or () if each.paid_at_us is not None)
    return json.dumps(
        {
            "tables": sorted(records),
            "windows": windows if is_named else None,
            "paid_at_ms": _sample(paid, _MOST_PAYMENTS),
            "stored_at_ms": stored_at_ms,
        },
        separators=(",", ":"),
    )


def read_notice(text: str) -> Notice:
    """A notice as it came through the channel. One that cannot be read, for any role may send some, is EVERYTHING."""
    try:
        told = json.loads(text)
        windows = told["windows"]
        return Notice(
            frozenset(map(str, told["tables"])),
            None if windows is None else frozenset(map(_time, windows)),
            tuple(map(_ms, told["paid_at_ms"])),
            _ms(told["stored_at_ms"]),
        )
    except Exception:  # whatever somebody has thought of
        return EVERYTHING


def together(notices: Iterable[Notice]) -> Notice:
    """Several batches as one; the newest time of storing."""
    tables: frozenset[str] = frozenset()
    windows: frozenset[datetime] | None = frozenset()
    paid: tuple[int, ...] = ()
    stored_at_ms = 0
    for each in notices:
        tables |= each.tables
        windows = None if windows is None or each.windows is None else windows | each.windows
        paid += each.paid_at_ms
        stored_at_ms = max(stored_at_ms, each.stored_at_ms)
    is_named = windows is not None and len(windows) <= MOST_TOGETHER
    return Notice(tables, windows if is_named else None, paid[-MOST_TOGETHER:], stored_at_ms)


def _time(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("no zone")
    return at


def _ms(value: object) -> int:
    if type(value) is not int or not 0 <= value < _MOST_MS:
        raise ValueError("no time")
    return value


def _sample(values: list[int], most: int) -> list[int]:
    """Of many values some, at equal distances, the smallest and the greatest among them."""
    if len(values) <= most:
        return values
    return [values[round(each * (len(values) - 1) / (most - 1))] for each in range(most)]
