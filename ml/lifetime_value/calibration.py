"""Whether what came was as uncertain as was said: of single customers by their PIT, of cohorts by their totals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import kstest

from ml.lifetime_value.holdout import TARGETS, Holdout
from ml.lifetime_value.model import INTERVAL, LifetimeValue
from ml.lifetime_value.purchases import Purchases
from ml.lifetime_value.spending import Spending
from ml.lifetime_value.summary import Floats, Ints, Summary

BINS = 20
DRAWS = 300

EVERYBODY = "all"
"""The cohort of all cohorts."""


def randomised_pit(below: Floats, up_to: Floats, rng: np.random.Generator) -> Floats:
    """In: P(less than what came) and P(up to it), of each customer. Out: a uniform draw between the two, which over
    customers is uniform on (0, 1) when the laws are right, counts or not. Czado, Gneiting and Held (2009).
    """
    return below + rng.random(len(below)) * (up_to - below)


def purchases_pit(law: Purchases, observed: Ints, rng: np.random.Generator) -> Floats:
    return randomised_pit(1.0 - law.at_least(observed), 1.0 - law.at_least(observed + 1), rng)


def spending_pit(law: Spending, observed: Floats, rng: np.random.Generator) -> Floats:
    """Only nothing spent has a probability of its own."""
    up_to = law.at_most(observed)
    return randomised_pit(np.where(observed > 0, up_to, 0.0), up_to, rng)


def calibration(
    model: LifetimeValue,
    summary: Summary,
    predictions: pd.DataFrame,
    holdout: Holdout,
    horizon: float,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Out: one row per target and twentieth of (0, 1), with the customers whose PIT is there; and per target the
    Kolmogorov-Smirnov distance of the PIT from uniform with its p-value (of many customers, the least flaw has a small
    one), the share of customers within their interval, and the share that the laws expect there.
    """
    purchases, spending = model.laws(summary, horizon)
    pits = {"purchases": purchases_pit(purchases, holdout.purchases, rng)}
    low, high = predictions["purchases_low"].to_numpy(), predictions["purchases_high"].to_numpy()
    expected = {"purchases": purchases.at_least(low) - purchases.at_least(high + 1)}
    if spending is not None:
        pits["value"] = spending_pit(spending, holdout.value, rng)
        value_low, value_high = predictions["value_low"].to_numpy(), predictions["value_high"].to_numpy()
        below = np.where(value_low > 0, spending.at_most(value_low), 0.0)
        expected["value"] = spending.at_most(value_high) - below
    metrics: dict[str, float] = {}
    tables = []
    for target, pit in pits.items():
        uniform = kstest(pit, "uniform")
        observed = holdout.observed(target)
        within = (observed >= predictions[f"{target}_low"]) & (observed <= predictions[f"{target}_high"])
        metrics |= {
            f"{target}_pit_ks": uniform.statistic,
            f"{target}_pit_p": uniform.pvalue,
            f"{target}_interval_share": within.mean(),
            f"{target}_interval_expected_share": expected[target].mean(),
        }
        counts, ends = np.histogram(pit, BINS, (0.0, 1.0))
        tables.append(pd.DataFrame({"target": target, "low": ends[:-1], "high": ends[1:], "customers": counts}))
    return pd.concat(tables, ignore_index=True), metrics


def cohort_totals(
    model: LifetimeValue,
    summary: Summary,
    predictions: pd.DataFrame,
    holdout: Holdout,
    horizon: float,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Out: one row per target and cohort, and one of all: predicted total, the interval that simulation gives it, what
    was observed; and per target the share of cohorts within their interval.

    Of a total, chance averages out and the fit's own error does not. So each draw has parameters of its own.
    """
    months, cohort = np.unique(holdout.cohort, return_inverse=True)
    targets = TARGETS if model.gamma_gamma else TARGETS[:1]
    drawn = [drawn_totals(model.redrawn(rng), summary, horizon, cohort, rng) for _ in range(DRAWS)]
    tables = []
    metrics: dict[str, float] = {}
    for number, target in enumerate(targets):
        low, high = np.quantile([totals[number] for totals in drawn], INTERVAL, axis=0)
        observed = _totals(holdout.observed(target), cohort)
        within = (observed >= low) & (observed <= high)
        metrics[f"{target}_cohorts_within"] = within[:-1].mean()
        tables.append(
            pd.DataFrame(
                {
                    "target": target,
                    "cohort": [*months, EVERYBODY],
                    "customers": _totals(np.ones(len(cohort)), cohort).astype(np.int64),
                    "predicted": _totals(predictions[f"expected_{target}"].to_numpy(), cohort),
                    "low": low,
                    "high": high,
                    "observed": observed,
                    "is_within": within,
                }
            )
        )
    return pd.concat(tables, ignore_index=True), metrics


def drawn_totals(
    model: LifetimeValue, summary: Summary, horizon: float, cohort: npt.NDArray[np.intp], rng: np.random.Generator
) -> list[Floats]:
    """One draw of what comes in the horizon. Out: purchases and, where the model has it, value; of each cohort in its
    order, then of all.
    """
    purchases, spending = model.laws(summary, horizon)
    counts = purchases.drawn(rng)
    totals = [_totals(counts.astype(np.float64), cohort)]
    return totals if spending is None else [*totals, _totals(spending.drawn(counts, rng), cohort)]


def _totals(of: Floats, cohort: npt.NDArray[np.intp]) -> Floats:
    """Of each cohort in its order, then of all."""
    by_cohort = np.bincount(cohort, of)
    return np.append(by_cohort, by_cohort.sum())
