"""BG/NBD: how many more times a customer will buy. Fader, Hardie and Lee (2005), "'Counting Your Customers' the Easy
Way: An Alternative to the Pareto/NBD Model", Marketing Science 24(2).

While alive a customer buys at a rate lambda of its own, from Gamma(r, rate alpha). After each repeat order it leaves
for good with a probability p of its own, from Beta(a, b).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import betaln, expit, gammaln, psi

from ml.lifetime_value.max_likelihood import Fit, FitError, maximise
from ml.lifetime_value.purchases import Purchases
from ml.lifetime_value.summary import Floats, Summary, distinct

NAMES = ("r", "alpha", "a", "b")

FEWEST = 5
"""One more than there are parameters."""

_STARTS = ((1.0, 1.0, 1.0, 1.0), (0.25, 0.5, 0.8, 2.5), (1.0, 1.0, 0.1, 10.0))
"""In units of the mean T. The second is near the published fits of shops, the third a shop that nobody leaves."""


@dataclass(frozen=True)
class BgNbd:
    """:param alpha: in the unit of time of the summary; the others have none."""

    r: float
    alpha: float
    a: float
    b: float

    def log_likelihood(self, summary: Summary) -> float:
        """Of all customers; equation 6 of the paper, summed."""
        parameters = np.array([self.r, self.alpha, self.a, self.b])
        (x, t_x, age), weights = distinct(summary.frequency, summary.recency, summary.age)
        return _log_likelihood(parameters, x, t_x, age, weights)[0]

    def probability_alive(self, summary: Summary) -> Floats:
        """Of each customer at the cut-off. Without repeats it is 1: here one leaves after a repeat order only."""
        x = summary.frequency
        odds = (self.r + x) * np.log((self.alpha + summary.age) / (self.alpha + summary.recency))
        with np.errstate(divide="ignore", invalid="ignore"):
            left = np.log(self.a) - np.log(self.b + x - 1) + odds
        return np.where(x > 0, expit(-left), 1.0)

    def purchases(self, summary: Summary, horizon: float) -> Purchases:
        """The law of each customer's purchases in the `horizon` after the cut-off, which is not below zero.

        A customer who is alive has lambda from Gamma(r + x, rate alpha + T) and p from Beta(a, b + x), independently.
        """
        x = summary.frequency.astype(np.float64)
        in_horizon = horizon / (self.alpha + summary.age + horizon)
        return Purchases(self.probability_alive(summary), self.r + x, in_horizon, self.a, self.b + x)


def fit_bg_nbd(summary: Summary) -> Fit:
    """The parameters under which the summary is likeliest.

    :raises FitError: too few customers, nobody who bought again, or no time in which anybody could have.
    """
    if len(summary) < FEWEST:
        raise FitError(f"{len(summary)} customers", f"at least {FEWEST}: BG/NBD has four parameters", "wait for more")
    if not summary.repeat_buyers:
        raise FitError(
            f"none of {len(summary):,} customers has bought again",
            "repeat orders, which are what the model is fitted to",
            "take a later cut-off, or more customers",
        )
    scale = float(summary.age.mean())
    if scale == 0:
        raise FitError("T is 0 for everybody", "time between first orders and the cut-off", "take a later cut-off")
    (x, t_x, age), counts = distinct(summary.frequency, summary.recency / scale, summary.age / scale)
    weights = counts / len(summary)

    def mean_log_likelihood(log_parameters: Floats) -> tuple[float, Floats]:
        parameters = np.exp(log_parameters)
        value, gradient = _log_likelihood(parameters, x, t_x, age, weights)
        return value, gradient * parameters

    fit = maximise(NAMES, mean_log_likelihood, _STARTS, len(summary))
    log_parameters = fit.log_parameters + np.array([0.0, np.log(scale), 0.0, 0.0])
    log_likelihood = fit.log_likelihood - float(summary.frequency.sum() * np.log(scale))
    return Fit(NAMES, log_parameters, fit.log_covariance, log_likelihood, fit.warnings)


def _log_likelihood(parameters: Floats, x: Floats, t_x: Floats, age: Floats, weights: Floats) -> tuple[float, Floats]:
    """Out: the weighted sum over customers, and its gradient by the parameters.

    The two terms of the paper's equation 6, still alive and gone after the last order, are added as logarithms. Special
    functions depend on x only, and of x there are few.
    """
    r, alpha, a, b = parameters
    counts, at = np.unique(x, return_inverse=True)
    common = gammaln(r + counts) - gammaln(r) + r * np.log(alpha) + betaln(a, b + counts) - betaln(a, b)
    again = x > 0
    shape = r + x
    log_alive, log_gone = np.log(alpha + age), np.log(alpha + t_x)
    alive = -shape * log_alive
    gone = np.full(len(x), -np.inf)
    gone[again] = np.log(a) - np.log(b + x[again] - 1) - shape[again] * log_gone[again]
    either = np.logaddexp(alive, gone)
    share_gone = np.exp(gone - either)
    share_alive = 1.0 - share_gone
    by_r = (psi(r + counts) - psi(r) + np.log(alpha))[at] - share_alive * log_alive - share_gone * log_gone
    by_alpha = r / alpha - shape * (share_alive / (alpha + age) + share_gone / (alpha + t_x))
    by_a = (psi(a + b) - psi(a + b + counts))[at] + share_gone / a
    by_b = (psi(b + counts) - psi(b) + psi(a + b) - psi(a + b + counts))[at]
    by_b[again] -= share_gone[again] / (b + x[again] - 1)
    gradient = np.array([weights @ each for each in (by_r, by_alpha, by_a, by_b)])
    return float(weights @ (common[at] + either)), gradient
