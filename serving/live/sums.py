"""Sales of the newest windows, summed over several spans of time, as windows change and time goes on.

A day at 500 events/s has two million rows of gold.product_sales. They are read once; then only windows that have
changed are read again, and each sum loses what a window had and gains what it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

DAY = timedelta(days=1)
TODAY = "today"
SPANS: Mapping[str, timedelta] = {
    "quarter": timedelta(minutes=15),
    "hour": timedelta(hours=1),
    "day": DAY,
}
"""Windows that started later than now less so much; beside them `today`, those that started since midnight (UTC)."""


MOST_PRODUCTS = 500_000
"""Distinct products of a day that are told apart: beyond them a product counts in all sums, and is in no top list. The
page's memory has a bound, whatever is sold.
"""

_FEW_PRODUCTS = 10_000
_OTHERS = 0
"""The place of those that are not told apart."""


@dataclass(frozen=True)
class Sold:
    """Of one product in one window, or in a span. Money in cents (USD)."""

    product_id: int
    units: int
    revenue_cents: int
    refund_cents: int = 0


@dataclass(frozen=True)
class Sum:
    """Of all products. Money in cents (USD)."""

    units: int = 0
    revenue_cents: int = 0
    refund_cents: int = 0


@dataclass(frozen=True)
class _Window:
    """Its products by their places in `Sums`; arrays of one length."""

    places: Ints
    units: Ints
    cents: Ints
    refund_cents: int

    @property
    def sum(self) -> Sum:
        return Sum(int(self.units.sum()), int(self.cents.sum()), self.refund_cents)


class _Span:
    """Sums of each product over the windows in the span."""

    def __init__(self) -> None:
        self.windows: set[datetime] = set()
        self.units, self.cents = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.refund_cents = 0

    def add(self, window: _Window, sign: int) -> None:
        short = int(window.places.max(initial=-1)) + 1 - len(self.units)
        if short > 0:
            more = np.zeros(max(short, len(self.units)), np.int64)
            self.units, self.cents = np.concatenate([self.units, more]), np.concatenate([self.cents, more])
        self.units[window.places] += sign * window.units
        self.cents[window.places] += sign * window.cents
        self.refund_cents += sign * window.refund_cents

    def keep(self, places: Ints) -> None:
        """These places alone, in this order; all others are at 0."""
        known = places[places < len(self.units)]
        self.units, self.cents = self.units[known], self.cents[known]


class Sums:
    """The newest day of windows, by the store clock."""

    def __init__(self) -> None:
        self._windows: dict[datetime, _Window] = {}
        self._spans = {name: _Span() for name in (*SPANS, TODAY)}
        self._places: dict[int, int] = {}
        self._products: list[int | None] = [None]
        self._now_at: datetime | None = None

    @staticmethod
    def since(now_at: datetime) -> datetime:
        """Windows that start at this time or earlier are in no span."""
        return now_at - DAY

    def goes_back(self, now_at: datetime) -> bool:
        """The store clock can go back, from a live stream to files of another time: then all is to be read anew."""
        return self._now_at is not None and now_at < self._now_at

    def move(self, now_at: datetime) -> None:
        """The store clock is at this time: windows that have become too old are let go."""
        is_new_hour = self._now_at is None or now_at.hour != self._now_at.hour
        self._now_at = now_at
        for name, span in self._spans.items():
            begin = _begin(name, now_at)
            for at in [at for at in span.windows if at <= begin]:
                span.windows.discard(at)
                span.add(self._windows[at], -1)
        for at in [at for at in self._windows if at <= self.since(now_at)]:
            del self._windows[at]
        if is_new_hour and len(self._products) > _FEW_PRODUCTS:  # in a large store it takes a tenth of a second
            self._give_back_places()

    def replace(self, at: datetime, rows: Iterable[Sold]) -> None:
        """The window that starts at this time has these rows now, at most one of a product, and no others."""
        assert self._now_at is not None
        if at <= self.since(self._now_at):
            return
        old, new = self._windows.pop(at, None), self._window(list(rows))
        if len(new.places):
            self._windows[at] = new
        for name, span in self._spans.items():
            if at in span.windows and old is not None:
                span.windows.discard(at)
                span.add(old, -1)
            if at > _begin(name, self._now_at) and len(new.places):
                span.windows.add(at)
                span.add(new, 1)

    @property
    def distinct(self) -> int:
        """Products that are told apart."""
        return len(self._places)

    def sum(self, name: str) -> Sum:
        """Of all products in a span."""
        span = self._spans[name]
        return Sum(int(span.units.sum()), int(span.cents.sum()), span.refund_cents)

    def top(self, name: str, count: int) -> list[Sold]:
        """The products of a span with the greatest revenue; of equals those with the smaller number first."""
        span = self._spans[name]
        sold = np.flatnonzero(span.units > 0)
        sold = sold[sold != _OTHERS]
        if len(sold) > count:
            cents = span.cents[sold]
            least = np.partition(cents, len(cents) - count)[len(cents) - count]
            sold = sold[cents >= least]
        found = [
            Sold(product_id, int(span.units[place]), int(span.cents[place]))
            for place in sold
            if (product_id := self._products[place]) is not None
        ]
        return sorted(found, key=lambda each: (-each.revenue_cents, each.product_id))[:count]

    def windows(self, name: str) -> dict[datetime, Sum]:
        """The windows of a span that have sales, by their start, in order."""
        return {at: self._windows[at].sum for at in sorted(self._spans[name].windows)}

    def _window(self, rows: list[Sold]) -> _Window:
        all_places = np.array([self._place(row.product_id) for row in rows], np.int64)
        places, row_of = np.unique(all_places, return_inverse=True)
        units, cents = np.zeros(len(places), np.int64), np.zeros(len(places), np.int64)
        np.add.at(units, row_of, np.array([row.units for row in rows], np.int64))
        np.add.at(cents, row_of, np.array([row.revenue_cents for row in rows], np.int64))
        return _Window(places, units, cents, sum(row.refund_cents for row in rows))

    def _place(self, product_id: int) -> int:
        place = self._places.get(product_id)
        if place is None:
            if len(self._products) > MOST_PRODUCTS:
                return _OTHERS
            place = self._places[product_id] = len(self._products)
            self._products.append(product_id)
        return place

    def _give_back_places(self) -> None:
        """Those of products that are in no window any more."""
        held = [np.array([_OTHERS]), *(window.places for window in self._windows.values())]
        used = np.unique(np.concatenate(held))
        for at, window in self._windows.items():
            self._windows[at] = replace(window, places=np.searchsorted(used, window.places))
        for span in self._spans.values():
            span.keep(used)
        self._products = [self._products[place] for place in used]
        self._places = {each: place for place, each in enumerate(self._products) if each is not None}


def _begin(name: str, now_at: datetime) -> datetime:
    """Windows of a span start later than this."""
    if name == TODAY:
        return now_at.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(microseconds=1)
    return now_at - SPANS[name]
