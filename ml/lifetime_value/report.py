"""How good predictions of lifetime value were: those of a calibration period, held against what came after it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from lakehouse.errors import InputError
from ml.lifetime_value.calibration import calibration, cohort_totals
from ml.lifetime_value.holdout import TARGETS, Holdout, forecasts
from ml.lifetime_value.model import LifetimeValue
from ml.lifetime_value.summary import Floats, Summary
from ml.tracking.promotion import error_of_mean

DECILES = 10
MOST_FREQUENT = 7
GAINS = 100


@dataclass(frozen=True)
class Report:
    """`metrics` are numbers by name; one that does not exist, such as a rank correlation with a constant, is left out.
    The target of a row is purchases or value.

    :param scores: per target and predictor: predicted and observed total, error and relative error of the total, MAE
        per customer, Spearman's rank correlation.
    :param deciles: per target and tenth of the customers, the least promising first: means predicted and observed.
    :param residuals: per target and number of repeats in calibration (the last group has more): means, and the standard
        error of observed less predicted.
    :param pit: per target and twentieth of (0, 1): the customers whose randomised PIT is in it.
    :param cohorts: per target and month of first order, and of all: predicted total, interval, observed.
    :param gains: per predictor and share of the customers, its best first: their share of what was observed.
    """

    metrics: dict[str, float]
    scores: pd.DataFrame
    deciles: pd.DataFrame
    residuals: pd.DataFrame
    pit: pd.DataFrame
    cohorts: pd.DataFrame
    gains: pd.DataFrame
    warnings: tuple[str, ...]


def report(
    model: LifetimeValue,
    summary: Summary,
    predictions: pd.DataFrame,
    holdout: Holdout,
    horizon: float,
    rng: np.random.Generator,
) -> Report:
    """In: a fit, its summary, what `predicted` makes of both for the horizon, and what came in it.

    :raises InputError: predictions or holdout of other customers than the summary's.
    """
    if not len(summary) == len(predictions) == len(holdout):
        found = f"{len(summary):,} customers, {len(predictions):,} predictions, {len(holdout):,} in the holdout"
        raise InputError(found, "the same customers, in the same order", "correct the call")
    targets = TARGETS if model.gamma_gamma else TARGETS[:1]
    expected = {target: forecasts(target, predictions, summary, holdout, horizon) for target in targets}
    scores = pd.DataFrame(
        {"target": target, "predictor": predictor, **score(forecast, holdout.observed(target))}
        for target in targets
        for predictor, forecast in expected[target].items()
    )
    metrics = {
        f"{'' if row['predictor'] == 'model' else row['predictor'] + '_'}{row['target']}_{name}": row[name]
        for row in scores.to_dict("records")
        for name in list(scores.columns)[2:]
    }
    pit, calibrated = calibration(model, summary, predictions, holdout, horizon, rng)
    cohorts, within = cohort_totals(model, summary, predictions, holdout, horizon, rng)
    metrics |= calibrated | within
    of_what = targets[-1]
    ranked = [gains(name, by, holdout.observed(of_what)) for name, by in expected[of_what].items()]
    by_target = [(target, expected[target]["model"], holdout.observed(target)) for target in targets]
    return Report(
        {name: float(value) for name, value in metrics.items() if np.isfinite(value)},
        scores,
        pd.concat([deciles(*each) for each in by_target], ignore_index=True),
        pd.concat([residuals(*each, summary) for each in by_target], ignore_index=True),
        pit,
        cohorts,
        pd.concat(ranked, ignore_index=True),
        (*model.warnings, *_of_intervals(model)),
    )


def _of_intervals(model: LifetimeValue) -> list[str]:
    fits = [fit for fit in (model.bg_nbd, model.gamma_gamma) if fit]
    if all(fit.log_covariance is not None for fit in fits):
        return []
    return ["The intervals of cohorts are too narrow: how far the fit may be off is not known."]


def score(predicted: Floats, observed: Floats) -> dict[str, float]:
    """Of one element per customer each. The relative error of no observed total is NaN, as is a correlation with a
    constant. Its standard error is that of a sum over customers, each of whom is for itself.
    """
    error = predicted.sum() - observed.sum()
    count = len(observed)
    error_of_sum = count * error_of_mean(predicted - observed, np.arange(count)) if count > 1 else np.nan
    return {
        "predicted_total": predicted.sum(),
        "observed_total": observed.sum(),
        "error": error,
        "relative_error": error / observed.sum() if observed.any() else np.nan,
        "relative_standard_error": error_of_sum / observed.sum() if observed.any() else np.nan,
        "mae": np.abs(predicted - observed).mean(),
        "spearman": _spearman(predicted, observed),
    }


def deciles(target: str, predicted: Floats, observed: Floats) -> pd.DataFrame:
    """Out: one row per tenth of the customers in order of prediction; fewer than ten customers have a row each."""
    tenths = np.array_split(np.argsort(predicted, kind="stable"), min(DECILES, len(predicted)))
    return pd.DataFrame(
        {
            "target": target,
            "decile": number,
            "customers": len(rows),
            "predicted": predicted[rows].mean(),
            "observed": observed[rows].mean(),
        }
        for number, rows in enumerate(tenths, 1)
    )


def residuals(target: str, predicted: Floats, observed: Floats, summary: Summary) -> pd.DataFrame:
    """Out: one row per number of repeats that some customer has; the last is of `MOST_FREQUENT` and more."""
    group = np.minimum(summary.frequency, MOST_FREQUENT)
    table = pd.DataFrame(
        {"frequency": group, "predicted": predicted, "observed": observed, "residual": observed - predicted}
    ).groupby("frequency", as_index=False)
    return table.agg(
        customers=("residual", "size"),
        predicted=("predicted", "mean"),
        observed=("observed", "mean"),
        residual=("residual", "mean"),
        standard_error=("residual", "sem"),
    ).assign(target=target)


def gains(predictor: str, predicted: Floats, observed: Floats) -> pd.DataFrame:
    """Out: one row per percent of the customers. Customers with one prediction are in chance's order: each stands for
    their mean.
    """
    _, group, sizes = np.unique(-predicted, return_inverse=True, return_counts=True)
    evened = (np.bincount(group, observed) / sizes)[group]
    reached = np.concatenate([[0.0], np.cumsum(evened[np.argsort(-predicted, kind="stable")])])
    customers = np.linspace(0.0, 1.0, GAINS + 1)
    share = np.interp(customers * len(predicted), np.arange(len(reached)), reached) / (observed.sum() or np.nan)
    return pd.DataFrame({"predictor": predictor, "customers": customers, "observed": share})


def _spearman(left: Floats, right: Floats) -> float:
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(left), rankdata(right))[0, 1])
