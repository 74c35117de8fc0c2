"""The endless stream of rows in the order of time, made block by block so that memory stays bounded."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from ingest import people
from ingest.catalogue import Catalogue
from ingest.customers import Customers
from ingest.people import People
from ingest.rows import PURCHASE, ROW, Rows, no_rows
from ingest.shape import StoreShape
from ingest.visits import Draft, browsing, buying, timed
from ingest.week import Week

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BLOCK_ROWS = 50_000
RESUMED = 0  # number of the visit whose session a later visit of the same browser may go on with


class Stream:
    """One stretch of the store's life from `starts_s` on; the seed and the start decide every row of it.

    Visits that began in the hour before the start are joined half way, so that the stream is at its full rate from
    its first second; orders are drawn an hour ahead, because the rows that lead up to an order come before it.

    :param starts_s: seconds since 1970, UTC.
    :param rate_per_s: mean rows a second, copies included.
    """

    def __init__(
        self, shape: StoreShape, goods: Catalogue, week: Week, seed: int, starts_s: float, rate_per_s: float
    ) -> None:
        self.shape, self.goods, self.week, self.starts_s = shape, goods, week, starts_s
        self.rng = np.random.default_rng([seed, int(starts_s * 1000)])
        self.block_s = float(np.clip(BLOCK_ROWS / rate_per_s, 1.0, 86_400.0))
        self.visits_per_s = rate_per_s / shape.rows_per_visit
        self.people = People(*(int(n) for n in self.rng.integers(0, people.USERS, 2)))
        orders_per_day = self.visits_per_s * shape.buying_share * 86_400.0
        self.customers = Customers(shape, float(week.store_time(starts_s)), orders_per_day, self.rng)
        self._browsers = 0

    def blocks(self) -> Iterator[tuple[float, Rows]]:
        """Rows of one block after another, with the time in seconds up to which nothing is missing. Endless."""
        shelf, ahead_s = Shelf(self.starts_s, self.block_s), self.shape.visit_longest_s
        for block in range(-int(np.ceil(ahead_s / self.block_s)), 0):
            shelf.put(self._browse(*self._span(block)))
        shelf.put(self._orders(self.starts_s + ahead_s))
        for block in itertools.count():
            from_s, until_s = self._span(block)
            shelf.put(self._orders(until_s + ahead_s))
            shelf.put(self._browse(from_s, until_s))
            rows = shelf.take(block)
            yield until_s, rows[np.argsort(rows["at_ms"], kind="stable")]

    def _span(self, block: int) -> tuple[float, float]:
        return self.starts_s + block * self.block_s, self.starts_s + (block + 1) * self.block_s

    def _browse(self, from_s: float, until_s: float) -> Rows:
        """Rows of the visits that begin in this stretch and buy nothing."""
        shape, rng = self.shape, self.rng
        from_store_s, until_store_s = (float(self.week.store_time(t)) for t in (from_s, until_s))
        expected = (until_store_s - from_store_s) * self.visits_per_s * (1 - shape.buying_share)
        count = int(rng.poisson(expected))
        begins_s = self.week.clock_time(np.sort(rng.uniform(from_store_s, until_store_s, count)))
        place, visit = self._visitors(count)
        rows, since_ms = timed(shape, browsing(shape, self.goods, rng, count), rng)
        return self._finish(rows, (begins_s * 1000).astype(np.int64)[rows.visit] + since_ms, place, visit)

    def _orders(self, until_s: float) -> Rows:
        """Rows of the visits whose order is placed between the last call's time and this one."""
        orders = self.customers.orders_until(float(self.week.store_time(until_s)))
        rows, since_ms = timed(self.shape, buying(self.shape, self.goods, self.rng, orders.value_cents), self.rng)
        paid = (rows.type == PURCHASE) & ~rows.refund
        order_ms = np.zeros(len(orders.at_s), np.int64)
        order_ms[rows.visit[paid]] = since_ms[paid]
        begins_ms = (self.week.clock_time(orders.at_s) * 1000).astype(np.int64) - order_ms
        visit = 1 + self.rng.integers(0, 1 << 62, len(order_ms))
        return self._finish(rows, begins_ms[rows.visit] + since_ms, people.customers(orders.customer), visit)

    def _visitors(self, count: int) -> tuple[Ints, Ints]:
        """Who visits, in the order of visits, and the number of the visit that its session is made from."""
        shape, rng = self.shape, self.rng
        new = rng.random(count) < shape.new_browser_share
        known = self._browsers + np.cumsum(new)
        place = people.browsers(np.where(new, known - 1, people.earlier(known, rng)))
        self._browsers = int(known[-1]) if count else self._browsers
        buyer = ~new & (rng.random(count) * (1 - shape.new_browser_share) < shape.customer_share)
        buyer &= len(self.customers) > 0
        bought = people.earlier(np.full(count, len(self.customers)), rng)
        resumes = new | (~buyer & (rng.random(count) < shape.resumed_share))
        visit = np.where(resumes, RESUMED, 1 + rng.integers(0, 1 << 62, count))
        return np.where(buyer, people.customers(bought), place), visit

    def _finish(self, draft: Draft, at_ms: Ints, place: Ints, visit: Ints) -> Rows:
        """Rows with users, sessions and copies. `place` and `visit`: one entry per visit."""
        shape, rng = self.shape, self.rng
        high, low = self.people.sessions(place, visit)
        user_id = self.people.user_ids(place)
        rows = np.empty(len(at_ms), ROW)
        rows["at_ms"], rows["product"], rows["type"], rows["refund"] = at_ms, draft.product, draft.type, draft.refund
        rows["user_id"], rows["high"], rows["low"] = user_id[draft.visit], high[draft.visit], low[draft.visit]
        if len(place) > 1:
            passed_on = rng.random(len(place)) < shape.shared_session_share
            other = passed_on[draft.visit] & (draft.place > 0.5)
            rows["user_id"][other] = np.roll(user_id, 1)[draft.visit[other]]
        blank = rng.random(len(rows)) < np.array(shape.blank_session_share)[draft.type]
        rows["high"][blank] = rows["low"][blank] = 0
        return rows.repeat(self._times_sent(draft.type))

    def _times_sent(self, types: Ints) -> Ints:
        sent = 1 + (self.rng.random(len(types)) < np.array(self.shape.copied_share)[types])
        for _ in range(2):
            sent += (sent > 1) & (self.rng.random(len(types)) < self.shape.more_copies_share)
        return sent


class Shelf:
    """Rows put aside until their block's turn. Each row is moved twice, however far ahead it was made."""

    def __init__(self, starts_s: float, block_s: float) -> None:
        self.starts_ms, self.block_ms = starts_s * 1000, block_s * 1000
        self._blocks: defaultdict[int, list[Rows]] = defaultdict(list)

    def put(self, rows: Rows) -> None:
        """Rows before the start are dropped."""
        block = np.floor((rows["at_ms"] - self.starts_ms) / self.block_ms).astype(np.int32)
        order = np.argsort(block, kind="stable")
        blocks, first = np.unique(block[order], return_index=True)
        for number, part in zip(blocks.tolist(), np.split(rows[order], first[1:]), strict=False):
            if number >= 0:
                self._blocks[number].append(part)

    def take(self, block: int) -> Rows:
        return np.concatenate([no_rows(), *self._blocks.pop(block, [])])
