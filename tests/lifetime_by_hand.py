"""Customers from the laws of BG/NBD and Gamma-Gamma, as `ingest/shape.py` states them: order by order, with numpy.

No law here comes from `ml`, so that a mistake there is not repeated here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.lifetime_value.holdout import Holdout
from ml.lifetime_value.summary import Summary


@dataclass(frozen=True)
class Laws:
    """The synthetic store's own. Times in days, `v` in USD."""

    r: float = 0.25
    alpha: float = 50.0
    a: float = 0.8
    b: float = 2.4
    p: float = 2.5
    q: float = 6.0
    v: float = 76.5


@dataclass(frozen=True)
class Store:
    """Customers and all their orders, from the first to the end of the horizon.

    :param customer: of each order, by customer and time. :param day: from the start. :param worth: USD.
    :param first_day: of each customer. :param left_day: when it left; infinite of those who have not by the end.
    """

    customer: npt.NDArray[np.int64]
    day: npt.NDArray[np.float64]
    worth: npt.NDArray[np.float64]
    first_day: npt.NDArray[np.float64]
    left_day: npt.NDArray[np.float64]


def store_of(laws: Laws, customers: int, first_days: tuple[float, float], until: float, seed: int) -> Store:
    """Everybody's first order is at a moment of its own between the two days; orders end at the day `until`."""
    rng = np.random.default_rng(seed)
    first = rng.uniform(*first_days, customers)
    rate = np.maximum(rng.gamma(laws.r, 1 / laws.alpha, customers), 1e-12)
    leaves = rng.beta(laws.a, laws.b, customers)
    nu = rng.gamma(laws.q, 1 / laws.v, customers)
    left = np.full(customers, np.inf)
    who, when = [np.arange(customers)], [first]
    active, at = np.arange(customers), first + rng.exponential(1, customers) / rate
    while True:
        here = at < until
        active, at = active[here], at[here]
        if not len(active):
            break
        who.append(active)
        when.append(at)
        stays = rng.random(len(active)) >= leaves[active]
        left[active[~stays]] = at[~stays]
        active, at = active[stays], at[stays]
        at = at + rng.exponential(1, len(active)) / rate[active]
    customer, day = np.concatenate(who), np.concatenate(when)
    order = np.lexsort((day, customer))
    worth = rng.gamma(laws.p, 1 / nu[customer])
    return Store(customer[order], day[order], worth[order], first, left)


def summary_at(store: Store, cutoff: float) -> Summary:
    """Of the customers as of a day by which all have ordered."""
    customers = len(store.first_day)
    repeat = (store.day < cutoff) & (store.day > store.first_day[store.customer])
    who = store.customer[repeat]
    frequency = np.bincount(who, minlength=customers)
    last = store.first_day.copy()
    np.maximum.at(last, who, store.day[repeat])
    worth = np.bincount(who, store.worth[repeat], customers) / np.maximum(frequency, 1)
    return Summary(frequency, last - store.first_day, cutoff - store.first_day, worth)


def holdout_at(store: Store, cutoff: float, horizon: float) -> Holdout:
    customers = len(store.first_day)

    def between(start: float, end: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        there = (store.day >= start) & (store.day < end)
        who = store.customer[there]
        return np.bincount(who, minlength=customers), np.bincount(who, store.worth[there], customers)

    month = np.array([f"month {int(day // 30)}" for day in store.first_day])
    return Holdout(*between(cutoff, cutoff + horizon), *between(cutoff - horizon, cutoff), month)
