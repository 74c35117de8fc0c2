"""What came after a cut-off, and what would have been said of it without a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from lakehouse.errors import InputError
from ml.lifetime_value.summary import Floats, Ints, Summary

TARGETS = ("purchases", "value")


@dataclass(frozen=True)
class Holdout:
    """One element per customer, in the order of the summary. The horizon is the time after the cut-off.

    :param purchases: orders in the horizon. :param value: what these were worth together.
    :param recent_purchases: orders in a time as long as the horizon that ends with the cut-off, first orders included.
    :param recent_value: what these were worth together.
    :param cohort: month of the first order, such as 2019-10.
    """

    purchases: Ints
    value: Floats
    recent_purchases: Ints
    recent_value: Floats
    cohort: npt.NDArray[np.str_]

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in self.__dataclass_fields__}
        if len(set(lengths.values())) > 1:
            raise InputError(f"columns of unequal length: {lengths}", "one element per customer", "correct the holdout")

    def __len__(self) -> int:
        return len(self.purchases)

    def observed(self, target: str) -> Floats:
        return np.asarray(getattr(self, target), dtype=np.float64)


def forecasts(
    target: str, predictions: pd.DataFrame, summary: Summary, holdout: Holdout, horizon: float
) -> dict[str, Floats]:
    """What each of three expects of every customer: the model; `last_period`, that what was done in the last horizon is
    done again; `mean_rate`, that everybody buys at the rate, and spends by the order, of all repeats together.
    """
    orders, mean = summary.valued_repeats()
    rate = summary.frequency.sum() / summary.age.sum() * horizon
    worth = (orders * mean).sum() / max(orders.sum(), 1) if target == "value" else 1.0
    return {
        "model": predictions[f"expected_{target}"].to_numpy(),
        "last_period": np.asarray(getattr(holdout, f"recent_{target}"), dtype=np.float64),
        "mean_rate": np.full(len(summary), rate * worth),
    }
