"""Whether a day is like what a model has learned, and whether what it had said came true. Pure: arrays in, numbers out.

Both are said with a band. By chance alone, at most one day in a thousand has anything out of it, of each measure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import chi2, norm

from ml.lifetime_value.summary import Floats
from ml.tracking.promotion import LARGEST_BIAS, error_of_mean

PSI, OUTCOME = "psi", "outcome"
BINS = 10
MIN_ROWS = 5 * BINS
"""Of a day with fewer the law of the PSI says little: less than five rows are expected in a bin."""

SMALLEST_PSI = 0.2
"""What is below is called no shift to speak of, however sure it is (the usual rule has 0.1 and 0.25)."""

FALSE_ALARM = 0.001
_PSEUDO_ROWS = 0.5


@dataclass(frozen=True)
class Measured:
    """One number of one day, as in gold.model_drift. None: there is no such number, or too few rows to say."""

    measure: str
    variable: str
    rows: int
    value: float | None = None
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    is_within: bool | None = None


@dataclass(frozen=True)
class Bins:
    """Where values of a feature belong. :param edges: upper ends of intervals, the last has none; or single values.

    After the intervals or values come two more bins: a single value that was not learned, and no value.
    """

    edges: Floats
    is_by_value: bool

    @classmethod
    def of(cls, learned: Floats) -> Bins:
        """Tenths of what was learned; of up to ten different values each for itself."""
        known = learned[~np.isnan(learned)]
        different = np.unique(known)
        if len(different) <= BINS:
            return cls(different, True)
        return cls(np.unique(np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])), False)

    def counts(self, values: Floats) -> Floats:
        known = values[~np.isnan(values)]
        places = np.searchsorted(self.edges, known)
        if self.is_by_value:
            places = np.where(np.isin(known, self.edges), places, len(self.edges) + 1)
        counts = np.bincount(places, minlength=len(self.edges) + 2)
        return np.append(counts, len(values) - len(known)).astype(np.float64)


def psi(learned: Floats, day: Floats) -> tuple[float, int]:
    """The population stability index sum (p - q) ln(p / q) of two lots of counts by bin: p of the day, q of what was
    learned. Out: it, and the bins that have any row.

    So that no bin is empty, half a row per bin is added to both; to the day's in the shares of what was learned, so
    that bins which are rare there do not look like a shift.
    """
    there = learned + day > 0
    learned, day = learned[there], day[there]
    added = _PSEUDO_ROWS * len(day)
    q = (learned + _PSEUDO_ROWS) / (learned.sum() + added)
    p = (day + added * q) / (day.sum() + added)
    return float(((p - q) * np.log(p / q)).sum()), len(day)


def psi_of(name: str, learned: Floats, day: Floats, features: int) -> Measured:
    """The PSI of a feature from its counts by bin, with its band.

    If nothing has changed, n m / (n + m) PSI of n and m rows is about chi-squared with one degree of freedom less than
    there are bins (Yurdakul and Naranjo 2020, Journal of Risk Model Validation 14(4), 89-100). So few rows make it
    large: the band ends at SMALLEST_PSI or, if that is more, where all `features` of a day stay with 99.9 %.
    """
    rows = int(day.sum())
    if not rows:
        return Measured(PSI, name, 0)
    value, bins = psi(learned, day)
    scale = 1 / rows + 1 / learned.sum()
    expected = float((bins - 1) * scale)
    if rows < MIN_ROWS:
        return Measured(PSI, name, rows, value, expected)
    chance = chi2.isf(FALSE_ALARM / features, bins - 1) * scale if bins > 1 else 0.0
    high = float(max(SMALLEST_PSI, chance))
    return Measured(PSI, name, rows, value, expected, 0.0, high, value <= high)


class Learned:
    """What a model has learned, feature by feature. In: the rows of its training."""

    def __init__(self, rows: pd.DataFrame, features: Sequence[str]) -> None:
        columns = {name: rows[name].to_numpy(np.float64) for name in features}
        self._bins = {name: Bins.of(column) for name, column in columns.items()}
        self._counts = {name: self._bins[name].counts(column) for name, column in columns.items()}

    def against(self, day: pd.DataFrame) -> Iterator[Measured]:
        """In: rows of a day, with the same features. Out: the PSI of each."""
        for name, bins in self._bins.items():
            counts = bins.counts(day[name].to_numpy(np.float64))
            yield psi_of(name, self._counts[name], counts, len(self._bins))


def bought_outcomes(
    probability: Floats, bought: npt.NDArray[np.bool_], users: npt.NDArray[np.int64]
) -> tuple[Measured, Measured]:
    """In: of each cart of a day what was said, what came, and whose it is. Out: the share that was bought, beside the
    one that was said; and the same of the likeliest tenth, which beside the first tells what the ranking is worth.
    """
    tenth = np.argsort(-probability, kind="stable")[: -(-len(probability) // 10)]
    return (
        _share("bought", probability, bought, users),
        _share("bought_of_top_tenth", probability[tenth], bought[tenth], users[tenth]),
    )


def _share(variable: str, probability: Floats, bought: npt.NDArray[np.bool_], users: npt.NDArray[np.int64]) -> Measured:
    """The band is that of the Poisson binomial law, wider by as much as carts of one customer hang together, and at
    least LARGEST_BIAS of what was said to either side.
    """
    rows = len(probability)
    if not rows:
        return Measured(OUTCOME, variable, 0)
    said, came = float(probability.mean()), float(bought.mean())
    tail = FALSE_ALARM / 2 / 2  # two variables, two ends
    low, high = np.searchsorted(np.cumsum(poisson_binomial(probability)), [tail, 1 - tail]) / rows
    alone = np.sqrt((probability * (1 - probability)).sum()) / rows
    together = error_of_mean(bought - probability, users)
    wider = max(1.0, together / alone) if alone else 1.0
    if np.isinf(wider):
        return Measured(OUTCOME, variable, rows, came, said)
    return _banded(variable, rows, came, said, said - wider * (said - low), said + wider * (high - said), most=1.0)


def poisson_binomial(probability: Floats) -> Floats:
    """Of independent events the probability that 0, 1, ... of them happen: the product of the polynomials
    1 - p + p x, by halves.
    """
    count = len(probability)
    padded = np.zeros(1 << (count - 1).bit_length())
    padded[:count] = probability
    laws = np.column_stack([1 - padded, padded])
    while len(laws) > 1:
        size = 2 * laws.shape[1] - 1
        laws = np.fft.irfft(np.fft.rfft(laws[::2], size) * np.fft.rfft(laws[1::2], size), size)
    return np.clip(laws[0, : count + 1], 0.0, 1.0)


def total_outcomes(rows: int, totals: Mapping[str, tuple[float, float, Floats]]) -> Iterator[Measured]:
    """In: of a cohort of so many customers, for `purchases` and, where the model has it, `value`: the total that was
    said, the one that came, and totals drawn from the model, each with parameters of its own from the fit's covariance.
    Out: each with the band of a normal law with the drawn spread, and at least LARGEST_BIAS of what was said to either
    side. No band where fewer than MIN_ROWS orders were said and came: single orders make such totals. None either where
    the law has no mean.
    """
    are_few = max(totals["purchases"][:2]) < MIN_ROWS
    for variable, (said, came, drawn) in totals.items():
        if not np.isfinite(said):
            yield Measured(OUTCOME, variable, rows, came)
        elif are_few:
            yield Measured(OUTCOME, variable, rows, came, said)
        else:
            reach = norm.isf(FALSE_ALARM / len(totals) / 2) * drawn.std(ddof=1)
            yield _banded(variable, rows, came, said, said - reach, said + reach)


def _banded(
    variable: str, rows: int, came: float, said: float, low: float, high: float, most: float = np.inf
) -> Measured:
    low = float(max(0.0, min(low, said * (1 - LARGEST_BIAS))))
    high = float(min(most, max(high, said * (1 + LARGEST_BIAS))))
    if low == 0 and high == most:  # whatever comes is in it
        return Measured(OUTCOME, variable, rows, came, said)
    return Measured(OUTCOME, variable, rows, came, said, low, high, low <= came <= high)
