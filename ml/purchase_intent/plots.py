"""Pictures of an intent report: a table in, a matplotlib Figure out."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_SIZE_INCHES = (5.0, 4.5)
_CHANCE: dict[str, Any] = {"color": "0.6", "linestyle": "--", "linewidth": 1.0}


def calibration_plot(calibration: pd.DataFrame) -> Figure:
    """In: `IntentReport.calibration`. On the diagonal what was said is what happened."""
    figure, axes = _axes("Said", "Bought", "Calibration")
    for model, rows in calibration.groupby("model", sort=False):
        axes.plot(rows["predicted"], rows["observed"], marker="o", label=str(model))
    top = max(float(calibration[["predicted", "observed"]].max().max()) * 1.05, 0.01) if len(calibration) else 1.0
    axes.plot([0, top], [0, top], **_CHANCE)
    axes.set(xlim=(0, top), ylim=(0, top))
    return _done(figure, axes)


def gains_plot(curves: pd.DataFrame) -> Figure:
    """In: `IntentReport.curves`. How many of the bought carts are among the likeliest so and so many."""
    figure, axes = _axes("Share of carts, likeliest first", "Share of bought carts among them", "Gains")
    return _lines(figure, axes, curves, "flagged", "recall")


def roc_plot(curves: pd.DataFrame) -> Figure:
    """In: `IntentReport.curves`."""
    figure, axes = _axes("False positive rate", "True positive rate", "ROC")
    return _lines(figure, axes, curves, "false_positive_rate", "recall")


def precision_recall_plot(curves: pd.DataFrame, bought_share: float) -> Figure:
    """In: `IntentReport.curves` and `bought_share`, the precision of a model without skill."""
    figure, axes = _axes("Recall", "Precision", "Precision and recall")
    for model, rows in curves.groupby("model", sort=False):
        axes.plot(rows["recall"], rows["precision"], drawstyle="steps-pre", label=str(model))
    axes.axhline(bought_share, **_CHANCE)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return _done(figure, axes)


def _lines(figure: Figure, axes: Axes, curves: pd.DataFrame, x: str, y: str) -> Figure:
    for model, rows in curves.groupby("model", sort=False):
        axes.plot(rows[x], rows[y], label=str(model))
    axes.plot([0, 1], [0, 1], **_CHANCE)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return _done(figure, axes)


def _axes(x: str, y: str, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel=x, ylabel=y, title=title)
    return figure, axes


def _done(figure: Figure, axes: Axes) -> Figure:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    return figure
