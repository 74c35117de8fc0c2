"""Gamma-Gamma: what a customer's orders are worth. Fader and Hardie (2013), "The Gamma-Gamma Model of Monetary Value".

Each order of a customer is worth Gamma(p, rate nu), with a nu of its own from Gamma(q, rate v). Worth and number of
orders are taken to be independent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, psi

from ml.lifetime_value.max_likelihood import Fit, FitError, maximise
from ml.lifetime_value.summary import Floats, Summary, distinct

NAMES = ("p", "q", "v")

FEWEST = 4
"""One more than there are parameters."""

_STARTS = ((1.0, 2.0, 1.0), (6.0, 4.0, 0.5), (2.0, 10.0, 5.0))
"""In units of the mean value."""


@dataclass(frozen=True)
class GammaGamma:
    """:param v: in the unit of money of the summary; the others have none."""

    p: float
    q: float
    v: float

    def posterior(self, summary: Summary) -> tuple[Floats, Floats]:
        """Each customer's nu is from Gamma(shape, rate): both, one element per customer. Without repeats of a known
        value they are those of all customers, q and v.
        """
        orders, mean = summary.valued_repeats()
        return self.q + self.p * orders.astype(np.float64), self.v + orders * mean

    def expected_value(self, summary: Summary) -> Floats:
        """Of each customer's next order; equation 5 of the note. NaN where it is infinite: q + p x at most 1."""
        shape, rate = self.posterior(summary)
        return np.where(shape > 1, self.p * rate / np.where(shape > 1, shape - 1, 1.0), np.nan)


def fit_gamma_gamma(summary: Summary) -> Fit:
    """The parameters under which the mean values of the repeat buyers are likeliest. Values of 0, which the model
    gives no probability, are left out with a warning.

    :raises FitError: too few repeat buyers whose value is known and above 0.
    """
    orders, mean = summary.valued_repeats()
    valued = (orders > 0) & (mean > 0)
    if valued.sum() < FEWEST:
        raise FitError(
            f"{int(valued.sum())} repeat buyers with a value above 0",
            f"at least {FEWEST}: Gamma-Gamma has three parameters",
            "take a later cut-off, or more customers",
        )
    scale = float(mean[valued].mean())
    (x, m), counts = distinct(orders[valued], mean[valued] / scale)
    customers = float(counts.sum())
    weights = counts / customers

    def mean_log_likelihood(log_parameters: Floats) -> tuple[float, Floats]:
        parameters = np.exp(log_parameters)
        value, gradient = _log_likelihood(parameters, x, m, weights)
        return value, gradient * parameters

    fit = maximise(NAMES, mean_log_likelihood, _STARTS, customers)
    log_parameters = fit.log_parameters + np.array([0.0, 0.0, np.log(scale)])
    warnings = list(fit.warnings)
    if log_parameters[1] <= 0:
        warnings.append(f"q is {np.exp(log_parameters[1]):.3g}: up to 1, the mean over all customers is infinite.")
    worthless = int(np.count_nonzero((orders > 0) & (mean == 0)))
    if worthless:
        warnings.append(f"{worthless:,} repeat buyers with a value of 0 are left out of Gamma-Gamma's fit.")
    log_likelihood = fit.log_likelihood - float(customers * np.log(scale))
    return Fit(NAMES, log_parameters, fit.log_covariance, log_likelihood, tuple(warnings))


def _log_likelihood(parameters: Floats, x: Floats, m: Floats, weights: Floats) -> tuple[float, Floats]:
    """Out: the weighted sum over customers of the logarithm of the note's equation 1a, and its gradient."""
    p, q, v = parameters
    total = x * m
    log_rate, log_total = np.log(v + total), np.log(total)
    shape = p * x
    either = gammaln(shape + q) - gammaln(shape) - gammaln(q) + q * np.log(v) - (shape + q) * log_rate
    value = either + shape * log_total - np.log(m)
    by_p = x * (psi(shape + q) - psi(shape) + log_total - log_rate)
    by_q = psi(shape + q) - psi(q) + np.log(v) - log_rate
    by_v = q / v - (shape + q) / (v + total)
    return float(weights @ value), np.array([weights @ each for each in (by_p, by_q, by_v)])
