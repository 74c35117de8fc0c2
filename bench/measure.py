"""From payment to sale: which purchase is counted in which record of the topic of sales, and how long it took."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from lakehouse.event_contract import FIELDS
from lakehouse.percentiles import percentiles

_MARK = b'"purchase"'  # a record without it is no purchase, and is not parsed

Key = tuple[int, int, bool]
"""(product_id, start of the window in seconds since 1970, is it a refund)."""


@dataclass
class _Line:
    """:param paid_s: when Kafka had each purchase. :param shown: (most units so far, when they were first seen)."""

    paid_s: list[float] = field(default_factory=list)
    shown: list[tuple[int, float]] = field(default_factory=list)

    @property
    def units(self) -> int:
        return self.shown[-1][0] if self.shown else 0


@dataclass(frozen=True)
class Waits:
    """:param waits_s: seconds from payment to sale, one per purchase; for one that was not seen, a lower bound.

    :param lost: purchases that were not seen.
    """

    waits_s: list[float]
    lost: int

    def summary(self) -> dict[str, Any]:
        """Seconds and counts, as the result has them. Without purchases the seconds are None."""
        return {**percentiles(self.waits_s, "s"), "purchases": len(self.waits_s), "lost": self.lost}


class Payments:
    """Purchases that were sent, and the sales that were seen, matched when asked for.

    A sale is visible when a record arrives that counts it in. Records carry totals, not the purchases behind them, so
    the match is first in, first out: a record with n units of a product and window counts in the n earliest payments
    of that product and window. Refunds are matched in the same way, with `refund_units`. Two purchases of one product
    in one minute can so exchange their times; the sum of all waits is the same either way.

    :param window_s: length of a window of sales.
    """

    def __init__(self, window_s: int) -> None:
        self._window_s = window_s
        self._lines: defaultdict[Key, _Line] = defaultdict(_Line)
        self._known: set[tuple[str, ...]] = set()

    def paid(self, value: bytes, kafka_at_s: float) -> bool:
        """A record of store-events. Out: is it a purchase at a price, and not a copy of one?"""
        if _MARK not in value:
            return False
        event = json.loads(value)
        identity = tuple(str(event.get(name)) for name in FIELDS)
        if event["event_type"] != "purchase" or identity in self._known:
            return False
        price = Decimal(event["price"])
        if price == 0:
            return False
        self._known.add(identity)
        start_s = int(seconds(event["event_time"])) // self._window_s * self._window_s
        self._lines[int(event["product_id"]), start_s, price < 0].paid_s.append(kafka_at_s)
        return True

    def shown(self, value: bytes, at_s: float) -> None:
        """A record of product-sales, which arrived at this time. It may arrive before the purchases that it counts."""
        row = json.loads(value)
        start_s = int(seconds(row["window_start_at"]))
        for is_refund, units in ((False, row["units"]), (True, row["refund_units"])):
            if not units:
                continue
            line = self._lines[int(row["product_id"]), start_s, is_refund]
            if units > line.units:
                line.shown.append((units, at_s))

    def waits(self, since_s: float, end_s: float) -> Waits:
        """Of the purchases that Kafka had at `since_s` or later.

        :param end_s: until when sales were looked for; a purchase not seen by then has waited at least so long.
        """
        waits_s: list[float] = []
        lost = 0
        for line in self._lines.values():
            step = 0
            for place, paid_s in enumerate(sorted(line.paid_s)):
                while step < len(line.shown) and line.shown[step][0] <= place:
                    step += 1
                if paid_s < since_s:
                    continue
                is_seen = step < len(line.shown)
                lost += not is_seen
                waits_s.append((line.shown[step][1] if is_seen else end_s) - paid_s)
        return Waits(waits_s, lost)

    def waiting(self) -> int:
        """Purchases that are sent and not seen yet."""
        return sum(max(0, len(line.paid_s) - line.units) for line in self._lines.values())

    def too_many(self) -> int:
        """Units that were seen and never sent: 0, unless something is counted twice."""
        return sum(max(0, line.units - len(line.paid_s)) for line in self._lines.values())


def seconds(text: str) -> float:
    """`2019-10-01 00:00:00 UTC`, or ISO 8601, as seconds since 1970. A time without a zone is in UTC."""
    at = datetime.fromisoformat(text.replace(" UTC", "+00:00"))
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
