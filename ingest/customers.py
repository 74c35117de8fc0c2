"""Who buys, when and for how much: BG/NBD orders and gamma-gamma order values (the laws are stated in `shape.py`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingest.shape import StoreShape

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

DAY_S = 86_400.0


@dataclass(frozen=True)
class Orders:
    """One entry per order, in no order of time. `at_s` is store time."""

    customer: Ints
    at_s: Floats
    value_cents: Ints


class Customers:
    """All customers so far, one entry per customer in each array; grows as new ones place their first order.

    The arrays are the truth that a model of lifetime value looks for: `orders_per_day` (while alive), `leaves` (the
    probability of leaving after an order), `nu` (rate of the order value), `next_s` (infinite once left).
    """

    def __init__(self, shape: StoreShape, starts_s: float, orders_per_day: float, rng: np.random.Generator) -> None:
        self.shape, self.rng = shape, rng
        self.orders_per_day = self.leaves = self.nu = self.next_s = np.empty(0)
        self._new = NewCustomers(shape, starts_s, orders_per_day)
        self._until_s = starts_s

    def __len__(self) -> int:
        return len(self.next_s)

    def orders_until(self, until_s: float) -> Orders:
        """Every order since the last call, up to this store time, and the orders of those who are new."""
        first = self._welcome(until_s)
        who, when = [first[0]], [first[1]]
        due = np.flatnonzero(self.next_s < until_s)
        while len(due):
            who.append(due)
            when.append(self.next_s[due])
            stays = self.rng.random(len(due)) >= self.leaves[due]
            gap_s = self.rng.exponential(1.0, len(due)) * DAY_S / self.orders_per_day[due]
            self.next_s[due] = np.where(stays, self.next_s[due] + gap_s, np.inf)
            due = due[self.next_s[due] < until_s]
        customer = np.concatenate(who)
        value = self.rng.gamma(self.shape.spend_p, 1.0, len(customer)) / self.nu[customer]
        return Orders(customer, np.concatenate(when), np.maximum(value.round(), 1).astype(np.int64))

    def _welcome(self, until_s: float) -> tuple[Ints, Floats]:
        """The new customers of this stretch and the times of their first orders, which nobody leaves after."""
        shape, rng = self.shape, self.rng
        count = rng.poisson(self._new.expected(self._until_s, until_s))
        first_s = rng.uniform(self._until_s, until_s, count)
        # A gamma with a small r can underflow to 0; such a customer never comes back, but must not divide by it.
        rate = np.maximum(rng.gamma(shape.order_r, 1.0 / shape.order_alpha_days, count), 1e-12)
        known = len(self)
        self.orders_per_day = np.concatenate([self.orders_per_day, rate])
        self.leaves = np.concatenate([self.leaves, rng.beta(shape.leave_a, shape.leave_b, count)])
        self.nu = np.concatenate([self.nu, rng.gamma(shape.spend_q, 1.0 / shape.spend_gamma_cents, count)])
        self.next_s = np.concatenate([self.next_s, first_s + rng.exponential(1.0, count) * DAY_S / rate])
        self._until_s = until_s
        return np.arange(known, known + count), first_s


class NewCustomers:
    """How many first orders a stretch should have, so that first and later orders together keep one mean rate.

    The store opens without customers. As they gather, more of the orders are repeats and fewer are somebody's first.
    """

    def __init__(self, shape: StoreShape, starts_s: float, orders_per_day: float) -> None:
        self.shape, self.starts_s, self.orders_per_day = shape, starts_s, orders_per_day
        leaves = np.random.default_rng(0).beta(shape.leave_a, shape.leave_b, 20_000)  # fixed: an integral, not a draw
        self._leaves = leaves
        self._first: list[float] = []  # first orders of each day since the start
        self._repeats: list[float] = []  # repeats by a customer on each day of its age

    def expected(self, from_s: float, until_s: float) -> float:
        day = int(((from_s + until_s) / 2 - self.starts_s) // DAY_S)
        while len(self._first) <= day:
            self._repeats.append(self._repeats_on(len(self._repeats)))
            ages = self._repeats[1:][::-1]
            later = float(np.dot(self._first, ages)) if self._first else 0.0
            self._first.append(max(0.0, (self.orders_per_day - later) / (1.0 + self._repeats[0])))
        return self._first[day] * (until_s - from_s) / DAY_S

    def _repeats_on(self, age_days: int) -> float:
        """Mean of lambda * exp(-lambda * p * age) over both laws; the first day counts half, from its middle."""
        r, alpha = self.shape.order_r, self.shape.order_alpha_days
        age = age_days if age_days else 0.25
        rate = float(np.mean(r * alpha**r / (alpha + self._leaves * age) ** (r + 1)))
        return rate if age_days else rate / 2
