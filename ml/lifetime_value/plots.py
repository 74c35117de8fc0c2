"""Pictures of a report on lifetime value: one of its tables in, a figure out."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_UNITS = {"purchases": "orders", "value": "USD"}
_NAMES = {"model": "model", "last_period": "last period again", "mean_rate": "everybody the same"}


def deciles_figure(deciles: pd.DataFrame) -> Figure:
    """In: `Report.deciles`. Means of each tenth of the customers; right predictions are on the dashed line."""
    figure, panels = _panels(deciles)
    for (target, table), panel in zip(deciles.groupby("target", sort=False), panels, strict=True):
        most = max(table["predicted"].max(), table["observed"].max(), 1e-9)
        panel.plot([0, most], [0, most], "--", color="grey", linewidth=1)
        panel.plot(table["predicted"], table["observed"], "o")
        _label(
            panel, f"{target} per customer, by decile", f"predicted, {_UNITS[target]}", f"observed, {_UNITS[target]}"
        )
    return figure


def pit_figure(pit: pd.DataFrame) -> Figure:
    """In: `Report.pit`. Right laws give bars of one height; 19 of 20 bars are then in the grey band."""
    figure, panels = _panels(pit)
    for (target, table), panel in zip(pit.groupby("target", sort=False), panels, strict=True):
        customers, share = table["customers"].sum(), 1 / len(table)
        panel.bar(table["low"], table["customers"], table["high"] - table["low"], align="edge", edgecolor="white")
        spread = 1.96 * np.sqrt(customers * share * (1 - share))
        panel.axhspan(customers * share - spread, customers * share + spread, color="grey", alpha=0.4)
        _label(panel, f"{target}: randomised PIT", "probability of less than what came", "customers")
    return figure


def gains_figure(gains: pd.DataFrame) -> Figure:
    """In: `Report.gains`. How much of what came was from the customers that each predictor ranks highest."""
    figure, (panel,) = _empty(1)
    for predictor, table in gains.groupby("predictor", sort=False):
        panel.plot(table["customers"] * 100, table["observed"] * 100, label=_NAMES[predictor])
    panel.legend(loc="lower right")
    _label(panel, "gains", "customers, the most promising first, %", "of what came, %")
    return figure


def residuals_figure(residuals: pd.DataFrame) -> Figure:
    """In: `Report.residuals`. Observed less predicted, with two standard errors, by repeat orders in calibration."""
    figure, panels = _panels(residuals)
    for (target, table), panel in zip(residuals.groupby("target", sort=False), panels, strict=True):
        panel.axhline(0, color="grey", linewidth=1)
        panel.errorbar(table["frequency"], table["residual"], 2 * table["standard_error"].fillna(0), fmt="o", capsize=3)
        _label(panel, f"{target}: residuals", "repeat orders so far", f"observed less predicted, {_UNITS[target]}")
    return figure


def _panels(table: pd.DataFrame) -> tuple[Figure, list[Axes]]:
    """One panel per target."""
    return _empty(table["target"].nunique())


def _empty(panels: int) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(5.0 * panels, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def _label(panel: Axes, title: str, across: str, up: str) -> None:
    panel.set_title(title)
    panel.set_xlabel(across)
    panel.set_ylabel(up)
