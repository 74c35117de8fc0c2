"""Customer lifetime value: BG/NBD for purchases and Gamma-Gamma for their worth, fitted to what customers have done.

Both are fitted by maximum likelihood. The laws of what comes are exact given the parameters; that the parameters are
estimates is not in the intervals of single customers, where it is small beside chance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ml.lifetime_value.bg_nbd import BgNbd, fit_bg_nbd
from ml.lifetime_value.gamma_gamma import GammaGamma, fit_gamma_gamma
from ml.lifetime_value.max_likelihood import Fit, FitError
from ml.lifetime_value.purchases import Purchases
from ml.lifetime_value.spending import Spending
from ml.lifetime_value.summary import Summary

HORIZON_DAYS = 90.0

INTERVAL = (0.1, 0.9)
"""What comes is between these quantiles with a probability of 80 %, or more where counts leave no exact 80 %."""

FEW_REPEAT_BUYERS = 500
"""From here on nine of ten fits to customers of the synthetic store expect a total within 12 % of the one that its true
parameters do; with 960 repeat buyers within 10 %, with 190 within 20 %, with 77 within 28 %."""


@dataclass(frozen=True)
class LifetimeValue:
    """Both fits.

    :param gamma_gamma: None where no value can be fitted.
    :param warnings: of both, and of few customers.
    """

    bg_nbd: Fit
    gamma_gamma: Fit | None
    warnings: tuple[str, ...]

    @property
    def buying(self) -> BgNbd:
        return BgNbd(**self.bg_nbd.values())

    @property
    def worth(self) -> GammaGamma | None:
        return GammaGamma(**self.gamma_gamma.values()) if self.gamma_gamma else None

    def laws(self, summary: Summary, horizon: float) -> tuple[Purchases, Spending | None]:
        """What each customer buys and spends in the horizon after the cut-off, in the summary's units."""
        purchases, worth = self.buying.purchases(summary, horizon), self.worth
        if worth is None:
            return purchases, None
        return purchases, Spending(purchases, worth.p, *worth.posterior(summary))

    def redrawn(self, rng: np.random.Generator) -> LifetimeValue:
        """With other parameters that the same customers might have led to: logarithms from a normal law with the
        covariance of the fit. A fit without one stays as it is.
        """
        return replace(
            self,
            bg_nbd=self.bg_nbd.redrawn(rng),
            gamma_gamma=self.gamma_gamma.redrawn(rng) if self.gamma_gamma else None,
        )


def fit_lifetime_value(summary: Summary) -> LifetimeValue:
    """One fit of each model.

    :raises FitError: no customers, nobody who bought again, no time since the first orders, or no maximum.
    """
    bg_nbd = fit_bg_nbd(summary)
    warnings = [f"BG/NBD: {each}" for each in bg_nbd.warnings]
    if summary.repeat_buyers < FEW_REPEAT_BUYERS:
        warnings.insert(0, few_buyers(summary))
    try:
        gamma_gamma = fit_gamma_gamma(summary)
    except FitError as problem:
        return LifetimeValue(bg_nbd, None, (*warnings, f"No value is predicted: {problem.found}."))
    warnings += [f"Gamma-Gamma: {each}" for each in gamma_gamma.warnings]
    return LifetimeValue(bg_nbd, gamma_gamma, tuple(warnings))


def few_buyers(summary: Summary) -> str:
    return (
        f"{summary.repeat_buyers:,} of {len(summary):,} customers have bought again. Below {FEW_REPEAT_BUYERS}, "
        "one expected total in ten is more than 12 % off, and single parameters further."
    )


def predicted(model: LifetimeValue, summary: Summary, horizon: float = HORIZON_DAYS) -> pd.DataFrame:
    """In: customers, and the time after their cut-off, in the unit of their times. Out: one row per customer, in their
    order: `probability_alive`; `expected_purchases` with `purchases_low` and `purchases_high`; `expected_value` with
    `value_low` and `value_high`, in the unit of their values, NaN where no value is known. Low and high are the ends of
    INTERVAL. Floats, as models have them.
    """
    purchases, spending = model.laws(summary, horizon)
    mean, (low, high) = purchases.summed(INTERVAL)
    columns = {
        "probability_alive": purchases.alive,
        "expected_purchases": mean,
        "purchases_low": low,
        "purchases_high": high,
    }
    if spending is None:
        return pd.DataFrame(columns | dict.fromkeys(("expected_value", "value_low", "value_high"), np.nan))
    value_low, value_high = (spending.quantile(level) for level in INTERVAL)
    return pd.DataFrame(
        columns | {"expected_value": spending.expected(mean), "value_low": value_low, "value_high": value_high}
    )
