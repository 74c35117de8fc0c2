"""A training of the lifetime value model: fitted on what was known at a cut-off, judged by what came after it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ml.lifetime_value.features import HOLDOUT, SUMMARY
from ml.lifetime_value.holdout import Holdout
from ml.lifetime_value.max_likelihood import Fit
from ml.lifetime_value.model import LifetimeValue, fit_lifetime_value, predicted
from ml.lifetime_value.report import Report, report
from ml.lifetime_value.summary import Floats, Summary
from ml.tracking.promotion import LARGEST_BIAS

_SMALLEST = 1e-300
_SURE = 3.0
"""So many standard errors are more than chance."""


@dataclass(frozen=True)
class Training:
    """:param log_scores: of each customer of the holdout, for the gate."""

    model: LifetimeValue
    report: Report
    log_scores: Floats

    @property
    def metrics(self) -> Mapping[str, float]:
        return self.report.metrics

    @property
    def scores(self) -> pd.DataFrame:
        return self.report.scores

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.report.warnings


def train(rows: pd.DataFrame, horizon_days: float, seed: int) -> Training:
    """In: rows of `features.customers` in a fixed order, and the length of their holdout. The same rows, horizon and
    seed make the same training, bit by bit.

    :raises FitError: too few customers, or nobody who bought again.
    """
    summary, holdout = summary_of(rows), holdout_of(rows)
    model = fit_lifetime_value(summary)
    predictions = predicted(model, summary, horizon_days)
    found = report(model, summary, predictions, holdout, horizon_days, np.random.default_rng(seed))
    return Training(model, found, log_scores(model, rows, horizon_days))


def summary_of(rows: pd.DataFrame) -> Summary:
    """In: rows with SUMMARY. Out: the same customers, in their order."""
    frequency, recency, age, value = (rows[name].to_numpy(np.float64) for name in SUMMARY)
    return Summary(frequency.astype(np.int64), recency, age, value)


def holdout_of(rows: pd.DataFrame) -> Holdout:
    """In: rows with HOLDOUT. Out: the same customers, in their order."""
    orders, value, recent_orders, recent_value, cohort = (rows[name].to_numpy() for name in HOLDOUT)
    return Holdout(
        orders.astype(np.int64),
        value.astype(np.float64),
        recent_orders.astype(np.int64),
        recent_value.astype(np.float64),
        cohort.astype(np.str_),
    )


def log_scores(model: LifetimeValue, rows: pd.DataFrame, horizon_days: float) -> Floats:
    """For each customer the logarithm of the probability that the model had given to the number of orders that came."""
    purchases, _ = model.laws(summary_of(rows), horizon_days)
    came = rows["holdout_orders"].to_numpy(np.int64)
    return np.log(np.maximum(purchases.at_least(came) - purchases.at_least(came + 1), _SMALLEST))


def failed_checks(found: Report) -> list[str]:
    """What speaks against using the model, as sentences; nothing if all is well."""
    metrics, failures = found.metrics, []
    for target in ("purchases", "value"):
        bias = metrics.get(f"{target}_relative_error")
        if bias is None:
            failures.append(f"Nothing came in the holdout, or no {target} are predicted.")
            continue
        # Of few customers chance alone makes as much.
        allowed = max(LARGEST_BIAS, _SURE * metrics.get(f"{target}_relative_standard_error", 0.0))
        if abs(bias) > allowed:
            failures.append(f"The total of {target} is off by {bias:+.0%}; {allowed:.0%} are allowed.")
    if metrics.get("purchases_spearman", 0.0) <= 0:
        failures.append("It ranks customers no better than chance.")
    return failures


def to_json(model: LifetimeValue) -> str:
    """All that predictions need: the parameters, with the covariance of their logarithms."""
    fits = {"bg_nbd": model.bg_nbd, "gamma_gamma": model.gamma_gamma}
    return json.dumps({name: fit and _as_plain(fit) for name, fit in fits.items()}, indent=1)


def from_json(text: str) -> LifetimeValue:
    """What `to_json` has written, without its warnings."""
    kept = json.loads(text)
    gamma_gamma = kept["gamma_gamma"] and _as_fit(kept["gamma_gamma"])
    return LifetimeValue(_as_fit(kept["bg_nbd"]), gamma_gamma, ())


def _as_plain(fit: Fit) -> dict[str, Any]:
    covariance = None if fit.log_covariance is None else fit.log_covariance.tolist()
    logs = dict(zip(fit.names, fit.log_parameters.tolist(), strict=True))
    return {"log_parameters": logs, "log_covariance": covariance, "log_likelihood": fit.log_likelihood}


def _as_fit(kept: Mapping[str, Any]) -> Fit:
    logs, covariance = kept["log_parameters"], kept["log_covariance"]
    known = None if covariance is None else np.array(covariance)
    return Fit(tuple(logs), np.array(list(logs.values())), known, kept["log_likelihood"], ())
