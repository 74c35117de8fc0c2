"""What customers have done up to a cut-off, as models of lifetime value take it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lakehouse.errors import InputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


VALUE = "monetary_value"


class SummaryError(InputError):
    """A customer's numbers cannot be true. :param row: which one, counted from 0."""

    def __init__(self, row: int, found: str, expected: str) -> None:
        super().__init__(f"customer {row}: {found}", expected, "correct the summary")


@dataclass(frozen=True)
class Summary:
    """One element per customer. Times are in one unit, whichever; money too.

    :param frequency: repeat orders: those after the first.
    :param recency: time from the first order to the last; t_x in the papers.
    :param age: time from the first order to the cut-off; T in the papers.
    :param monetary_value: mean value of the *repeat* orders, as in the published CDNOW summary. NaN: not known; without
        repeats it says nothing. None: not known of anybody.
    :raises SummaryError: names the first customer whose numbers cannot be true, and why.
    """

    frequency: Ints
    recency: Floats
    age: Floats
    monetary_value: Floats | None = None

    def __post_init__(self) -> None:
        broken = untrue(self.frequency, self.recency, self.age, self.monetary_value)
        for row, (found, expected) in sorted(broken.items()):
            raise SummaryError(row, found, expected)

    def __len__(self) -> int:
        return len(self.frequency)

    @property
    def repeat_buyers(self) -> int:
        return int(np.count_nonzero(self.frequency))

    def valued_repeats(self) -> tuple[Ints, Floats]:
        """Of each customer the repeat orders whose mean value is known, and that mean; 0 and 0 where it is not."""
        if self.monetary_value is None:
            return np.zeros_like(self.frequency), np.zeros(len(self))
        known = (self.frequency > 0) & ~np.isnan(self.monetary_value)
        return np.where(known, self.frequency, 0), np.where(known, self.monetary_value, 0.0)


def untrue(frequency: Ints, recency: Floats, age: Floats, value: Floats | None) -> dict[int, tuple[str, str]]:
    """In: the columns of a summary. Out: the customers whose numbers cannot be true, counted from 0, each with what was
    found and what would have been right.
    """
    columns = {"frequency": frequency, "recency": recency, "T": age} | ({} if value is None else {VALUE: value})
    broken: dict[int, tuple[str, str]] = {}
    for where, found, expected in _rules(frequency, recency, age, value):
        for row in np.flatnonzero(where).tolist():
            shown = {name: f"{column[row]:g}" for name, column in columns.items()}
            broken.setdefault(row, (found.format(**shown), expected))
    return broken


def _rules(x: Ints, t_x: Floats, age: Floats, value: Floats | None) -> Iterator[tuple[npt.NDArray[np.bool_], str, str]]:
    yield ~np.isfinite(t_x) | ~np.isfinite(age), "recency {recency}, T {T}", "numbers"
    yield x < 0, "frequency {frequency}", "0 or more repeat orders"
    yield t_x < 0, "recency {recency}", "0 or more"
    yield age < 0, "T {T}", "0 or more"
    yield t_x > age, "recency {recency} > T {T}", "a last order before the cut-off"
    yield (x == 0) & (t_x > 0), "frequency 0 with recency {recency}", "recency 0 without repeat orders"
    if value is not None:
        yield (value < 0) | np.isinf(value), "monetary_value {monetary_value}", "0 or more"


def distinct(*columns: npt.NDArray[np.float64] | Ints) -> tuple[list[Floats], Floats]:
    """In: columns of equal length. Out: their distinct rows, as columns, and how often each is there."""
    rows, counts = np.unique(np.column_stack(columns).astype(np.float64), axis=0, return_counts=True)
    return [np.ascontiguousarray(rows[:, column]) for column in range(len(columns))], counts.astype(np.float64)
