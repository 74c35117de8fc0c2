"""How good probabilities are: figures with intervals, and tables to draw. Pure: arrays in, tables out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

METRICS = ("roc_auc", "pr_auc", "log_loss", "brier", "top_decile_lift")
_SMALLEST = 1e-15  # a certainty that was wrong costs much, not infinitely much


@dataclass(frozen=True)
class IntentReport:
    """:param metrics: one row per model and metric: `value`, and `low`, `high` of its interval; NaN: of carts that were
    all bought, or none, there is no such figure.
    :param calibration: one row per model and bin: carts, their mean `predicted` and the share `observed`.
    :param curves: one row per model and point: told apart from there up, the share `flagged` of all carts, and of these
    `recall`, `false_positive_rate`, `precision`.
    :param warnings: what a reader must know.
    """

    carts: int
    users: int
    bought_share: float
    metrics: pd.DataFrame
    calibration: pd.DataFrame
    curves: pd.DataFrame
    warnings: tuple[str, ...]


def intent_report(
    bought: npt.NDArray[np.bool_],
    users: npt.NDArray[np.int64],
    scores: Mapping[str, Floats],
    rng: np.random.Generator,
    resamples: int = 1000,
    bins: int = 10,
    auc_limit: float = 0.85,
) -> IntentReport:
    """In: per cart whether it was bought, its user, and per model the probability that it said.

    Intervals: 95 % of a percentile bootstrap (Efron 1979) in which users are drawn, with all their carts; each draw is
    the same for all models. PR AUC is the average precision; without skill it is the share that was bought.

    :param auc_limit: a model whose ROC AUC is above is suspect: published ones on carts of such stores are below 0.7.
    """
    bought = np.asarray(bought, bool)
    _, places = np.unique(users, return_inverse=True)
    count = int(places.max()) + 1 if len(places) else 0
    draws = [rng.multinomial(count, np.full(count, 1 / count))[places] if count else places for _ in range(resamples)]
    metrics, calibrations, curves = [], [], []
    for name, score in scores.items():
        ranking = Ranking.of(bought, np.asarray(score, float))
        values = ranking.metrics(np.ones(len(bought)))
        spread = np.array([ranking.metrics(draw.astype(float)) for draw in draws]).reshape(-1, len(METRICS))
        for metric, value, column in zip(METRICS, values, spread.T, strict=True):
            low, high = _interval(column)
            metrics.append((name, metric, value, low, high))
        calibrations.append(calibration(bought, np.asarray(score, float), bins).assign(model=name))
        curves.append(ranking.curve().assign(model=name))
    table = pd.DataFrame(metrics, columns=["model", "metric", "value", "low", "high"])
    return IntentReport(
        carts=len(bought),
        users=count,
        bought_share=float(bought.mean()) if len(bought) else float("nan"),
        metrics=table,
        calibration=pd.concat(calibrations, ignore_index=True),
        curves=pd.concat(curves, ignore_index=True),
        warnings=_warnings(bought, table, auc_limit),
    )


@dataclass(frozen=True)
class Ranking:
    """Carts, likeliest first. :param ends: places, in this order, of the last cart of each lot with one score."""

    order: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    bought: Floats
    score: Floats

    @classmethod
    def of(cls, bought: npt.NDArray[np.bool_], score: Floats) -> Ranking:
        order = np.argsort(-score, kind="stable")
        ordered = score[order]
        ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1) if len(ordered) else order
        return cls(order, ends, bought[order].astype(float), ordered)

    def sums(self, weights: Floats) -> tuple[Floats, Floats]:
        """In: how often each cart counts, in its own order. Out: after each lot, how many were bought, and were not."""
        mine = weights[self.order]
        positive = mine * self.bought
        return np.cumsum(positive)[self.ends], np.cumsum(mine - positive)[self.ends]

    def metrics(self, weights: Floats) -> tuple[float, ...]:
        """METRICS; NaN where the weights leave carts of one kind only."""
        hits, misses = self.sums(weights)
        if not len(hits) or not hits[-1] or not misses[-1]:
            return (float("nan"),) * len(METRICS)
        mine = weights[self.order]
        new_hits, new_misses = np.diff(hits, prepend=0.0), np.diff(misses, prepend=0.0)
        # Mann and Whitney: pairs in the right order, those of one score by half.
        auc = np.sum(new_misses * (hits - new_hits / 2)) / (hits[-1] * misses[-1])
        flagged = hits + misses
        precision = np.divide(hits, flagged, out=np.zeros_like(hits), where=flagged > 0)
        p = np.clip(self.score, _SMALLEST, 1 - _SMALLEST)
        losses = -np.where(self.bought > 0, np.log(p), np.log1p(-p))
        total = flagged[-1]
        # Within a lot of one score the tenth takes its share, as if the lot were shuffled.
        in_tenth = np.interp(total / 10, np.append(0.0, flagged), np.append(0.0, hits))
        return (
            float(auc),
            float(np.sum(new_hits * precision) / hits[-1]),
            float(np.sum(mine * losses) / total),
            float(np.sum(mine * (self.score - self.bought) ** 2) / total),
            float(in_tenth / (total / 10) / (hits[-1] / total)),
        )

    def curve(self) -> pd.DataFrame:
        """One row per lot and one before the first: of the carts from there up. Empty if all were bought, or none."""
        hits, misses = self.sums(np.ones(len(self.order)))
        names = ["flagged", "recall", "false_positive_rate", "precision"]
        if not len(hits) or not hits[-1] or not misses[-1]:
            return pd.DataFrame(columns=names, dtype=float)
        hits, misses = np.append(0.0, hits), np.append(0.0, misses)
        flagged = hits + misses
        precision = np.append(hits[1] / flagged[1], hits[1:] / flagged[1:])
        columns = (flagged / flagged[-1], hits / hits[-1], misses / misses[-1], precision)
        return pd.DataFrame(dict(zip(names, columns, strict=True)))


def calibration(bought: npt.NDArray[np.bool_], score: Floats, bins: int) -> pd.DataFrame:
    """One row per bin of about equally many carts; carts of one score are in one bin."""
    edges = np.unique(np.quantile(score, np.linspace(0, 1, bins + 1)[1:-1])) if len(score) else np.empty(0)
    frame = pd.DataFrame({"bin": np.searchsorted(edges, score, side="left"), "predicted": score, "observed": bought})
    rows = frame.astype({"observed": float}).groupby("bin", as_index=False)
    return rows.agg(carts=("predicted", "size"), predicted=("predicted", "mean"), observed=("observed", "mean"))


def _interval(values: Floats) -> tuple[float, float]:
    finite = values[np.isfinite(values)]
    low, high = np.quantile(finite, [0.025, 0.975]) if len(finite) else (np.nan, np.nan)
    return float(low), float(high)


def _warnings(bought: npt.NDArray[np.bool_], metrics: pd.DataFrame, auc_limit: float) -> tuple[str, ...]:
    if not len(bought) or bought.all() or not bought.any():
        return (f"{bought.sum():,} of {len(bought):,} carts were bought: there is nothing to tell apart.",)
    aucs = metrics[metrics["metric"] == "roc_auc"]
    return tuple(
        f"{row.model}: ROC AUC {row.value:.3f} is above {auc_limit}. Hardly told from the past: look for a leak."
        for row in aucs.itertuples()
        if row.value > auc_limit
    )
