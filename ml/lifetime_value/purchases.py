"""The law of what each customer buys in a time to come: exact, by its tails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import betainc, betaln

from ml.lifetime_value.summary import Floats, Ints

_NEGLIGIBLE = 1e-12


@dataclass(frozen=True)
class Purchases:
    """With probability `alive` the lesser of two counts, independent of each other; else none.

    The first is Poisson with a rate from a gamma law: negative binomial, P(N >= k) = I_z(k, shape). The second is the
    order after which one leaves, geometric with p from Beta(a, b): P(G >= k) = B(a, b + k - 1) / B(a, b).
    Tails multiply, the mean is the sum of the tails, and all terms are above zero. The closed form (equation 10 of
    Fader, Hardie and Lee, with a 2F1) is the same number, but is 0 / 0 at a = 1 and overflows for large x.

    :param alive: one element per customer, as in `shape`, `z` and `b`.
    :param z: the horizon as a share of alpha + T + horizon.
    """

    alive: Floats
    shape: Floats
    z: Floats
    a: float
    b: Floats

    def __len__(self) -> int:
        return len(self.alive)

    def at_least(self, count: Ints) -> Floats:
        """The probability that each customer buys `count` times or more, each its own count."""
        k = np.maximum(count, 1).astype(np.float64)
        stays = np.exp(betaln(self.a, self.b + k - 1) - betaln(self.a, self.b))
        return np.where(count > 0, self.alive * betainc(k, self.shape, self.z) * stays, 1.0)

    def tails(self, smallest: float = _NEGLIGIBLE) -> Iterator[tuple[int, Ints, Floats]]:
        """For k = 1, 2, ...: k, the customers whose P(K >= k) is above `smallest`, and that probability. Ends where
        nobody is left.
        """
        rows = np.arange(len(self))
        stays = self.alive.copy()
        k = 1
        while len(rows):
            tail = stays * betainc(float(k), self.shape[rows], self.z[rows])
            left = tail > smallest
            rows, tail, stays = rows[left], tail[left], stays[left]
            yield k, rows, tail
            b = self.b[rows]
            stays = stays * (b + k - 1) / (self.a + b + k - 1)
            k += 1

    def summed(self, levels: tuple[float, ...]) -> tuple[Floats, list[Ints]]:
        """Out: each customer's expected purchases, and for each level the smallest count that is not exceeded with at
        least this probability.
        """
        mean = np.zeros(len(self))
        quantiles = [np.zeros(len(self), dtype=np.int64) for _ in levels]
        for _, rows, tail in self.tails():
            mean[rows] += tail
            for level, quantile in zip(levels, quantiles, strict=True):
                quantile[rows] += tail > 1.0 - level
        return mean, quantiles

    def drawn(self, rng: np.random.Generator) -> Ints:
        """One draw of every customer's purchases."""
        rows = np.flatnonzero(rng.random(len(self)) < self.alive)
        rate = rng.gamma(self.shape[rows]) * self.z[rows] / (1.0 - self.z[rows])
        bought = rng.poisson(rate)
        rows, bought = rows[bought > 0], bought[bought > 0]
        # A p that underflows to 0 is one who never leaves.
        leaves = np.maximum(rng.beta(self.a, self.b[rows]), 1e-15)
        counts = np.zeros(len(self), dtype=np.int64)
        counts[rows] = np.minimum(bought, rng.geometric(leaves))
        return counts
