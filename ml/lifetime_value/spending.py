"""The law of what each customer spends in a time to come: exact, from the laws of its purchases and of its values."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, betaln

from ml.lifetime_value.purchases import Purchases
from ml.lifetime_value.summary import Floats, Ints

_CLOSE = 1e-6


@dataclass(frozen=True)
class Spending:
    """K orders are worth Gamma(p K, rate nu) in all, nu from Gamma(shape, rate): `rate` times a beta prime law, so that
    P(worth <= y | K) = I(y / (rate + y); p K, shape). Nothing is spent with P(K = 0).

    :param shape: one element per customer, as is `rate`, which is in the unit of money.
    """

    purchases: Purchases
    p: float
    shape: Floats
    rate: Floats

    def expected(self, purchases: Floats) -> Floats:
        """In: expected purchases. Out: expected worth; NaN where it is infinite, at a shape of at most 1."""
        return purchases * self.p * self.rate / np.where(self.shape > 1, self.shape - 1, np.nan)

    def at_most(self, worth: Floats) -> Floats:
        """The probability that each customer spends `worth` or less, each its own amount, which is not below 0."""
        terms = _Terms.of(self, np.arange(len(self.shape)), 1e-9)
        return terms.nothing + terms.cumulative(worth)

    def quantile(self, level: float) -> Floats:
        """The smallest amount that each customer does not exceed with this probability; right to a millionth of it."""
        amounts = np.zeros(len(self.shape))
        spends = np.flatnonzero(self.purchases.at_least(np.ones(len(amounts), dtype=np.int64)) > 1.0 - level)
        if len(spends):
            amounts[spends] = _Terms.of(self, spends, 1e-7).solved(level)
        return amounts

    def drawn(self, purchases: Ints, rng: np.random.Generator) -> Floats:
        """One draw of what every customer spends, given how often each buys."""
        amounts = np.zeros(len(self.shape))
        rows = np.flatnonzero(purchases)
        nu = np.maximum(rng.gamma(self.shape[rows]), 1e-300)
        amounts[rows] = self.rate[rows] * rng.gamma(self.p * purchases[rows]) / nu
        return amounts


@dataclass(frozen=True)
class _Terms:
    """The counts that some customers may buy, each a term of one customer's law.

    :param row: the customer of each term, counted among these. :param weight: the probability of that count.
    :param orders: p times that count. :param nothing: of each customer, the probability of no order.
    """

    row: Ints
    weight: Floats
    orders: Floats
    nothing: Floats
    shape: Floats
    rate: Floats

    @staticmethod
    def of(law: Spending, rows: Ints, smallest: float) -> _Terms:
        every = law.purchases
        some = Purchases(every.alive[rows], every.shape[rows], every.z[rows], every.a, every.b[rows])
        found = list(some.tails(smallest))
        row = np.concatenate([np.zeros(0, dtype=np.int64), *(who for _, who, _ in found)])
        tail = np.concatenate([np.zeros(0), *(tail for _, _, tail in found)])
        count = np.repeat([k for k, _, _ in found], [len(who) for _, who, _ in found])
        # Who is still there at k + 1 is there at k: P(K = k) is one tail less the next.
        weight, start = tail.copy(), 0
        for (_, who, _), (_, later, next_tail) in pairwise(found):
            weight[start + np.searchsorted(who, later)] -= next_tail
            start += len(who)
        nothing = 1.0 - _sums(row, weight, len(rows))
        return _Terms(row, weight, law.p * count, nothing, law.shape[rows], law.rate[rows])

    def only(self, keep: npt.NDArray[np.bool_]) -> _Terms:
        """Of these customers alone."""
        terms, place = keep[self.row], np.cumsum(keep) - 1
        return _Terms(
            place[self.row[terms]],
            self.weight[terms],
            self.orders[terms],
            self.nothing[keep],
            self.shape[keep],
            self.rate[keep],
        )

    def cumulative(self, worth: Floats) -> Floats:
        """P(spends something, and at most `worth`) of each customer."""
        share = (worth / (self.rate + worth))[self.row]
        below = betainc(self.orders, self.shape[self.row], share)
        return _sums(self.row, self.weight * below, len(self.nothing))

    def slope(self, worth: Floats) -> Floats:
        """Of `cumulative`, by the logarithm of `worth`."""
        log_share = np.log(worth / (self.rate + worth))[self.row]
        log_rest = np.log(self.rate / (self.rate + worth))[self.row]
        shape = self.shape[self.row]
        log_slope = self.orders * log_share + shape * log_rest - betaln(self.orders, shape)
        return _sums(self.row, self.weight * np.exp(log_slope), len(self.nothing))

    def solved(self, level: float) -> Floats:
        """Of customers whose `nothing` is below the level. Newton in a bracket, on logarithms of amount and
        probability: these are near a straight line where the probability is small.
        """
        found = np.zeros(len(self.nothing))
        open_, terms = np.arange(len(found)), self
        log_rate = np.log(self.rate)
        at, low, high = log_rate + np.log(self.orders.min() / self.shape), log_rate - 200.0, log_rate + 50.0
        while len(open_):
            wanted = level - terms.nothing
            value, slope = terms.cumulative(np.exp(at)), terms.slope(np.exp(at))
            low, high = np.where(value < wanted, at, low), np.where(value < wanted, high, at)
            with np.errstate(divide="ignore", invalid="ignore"):
                newton = at + (np.log(wanted) - np.log(value)) * value / slope
            step = np.where((newton > low) & (newton < high), newton, (low + high) / 2)
            moves = np.abs(step - at) > _CLOSE
            found[open_[~moves]] = np.exp(step[~moves])
            if not moves.all():
                terms = terms.only(moves)
            open_, at, low, high = open_[moves], step[moves], low[moves], high[moves]
        return found


def _sums(row: Ints, values: Floats, rows: int) -> Floats:
    return np.bincount(row, values, rows).astype(np.float64)
