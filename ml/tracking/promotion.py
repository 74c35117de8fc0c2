"""Which of two models goes on: the rule by which a candidate becomes the champion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ml.lifetime_value.summary import Floats

CHAMPION, CHALLENGER = "champion", "challenger"

LARGEST_BIAS = 0.25
"""By so much of itself a total that a model says may be off."""


@dataclass(frozen=True)
class Decision:
    """:param alias: CHAMPION or CHALLENGER. :param reason: why, as a sentence."""

    alias: str
    reason: str


@dataclass(frozen=True)
class Gain:
    """How much better a candidate told what came than the champion, on the same rows of a holdout.

    :param mean: difference of their log scores, per row, in nats.
    :param standard_error: of that mean.
    """

    mean: float
    standard_error: float


def gain(candidate: Floats, champion: Floats, groups: npt.NDArray[np.int64] | None = None) -> Gain:
    """In: per row the logarithm of the probability that each had given to what came (Good 1952), in one order.

    :param groups: of each row; rows of one group, such as a customer's, hang together, and the standard error is robust
        to that (Liang and Zeger 1986). None: each row is for itself. Of one group alone nothing can be said: infinite.
    """
    difference = candidate - champion
    return Gain(
        float(difference.mean()),
        error_of_mean(difference, np.arange(len(difference)) if groups is None else groups),
    )


def error_of_mean(values: Floats, groups: npt.NDArray[np.int64]) -> float:
    """The standard error of a mean of values that hang together within groups. Infinite of one group."""
    sums = np.bincount(np.unique(groups, return_inverse=True)[1], values - values.mean())
    return float(np.sqrt(len(sums) / (len(sums) - 1) * (sums @ sums)) / len(values)) if len(sums) > 1 else np.inf


def decide(failures: Sequence[str], champion: str | None, found: Gain | None, standard_errors: float) -> Decision:
    """:param failures: of the sanity checks, as sentences.
    :param champion: its name; None: there is none.
    :param found: None: they cannot be compared, for there is too little that the champion has not seen.
    :param standard_errors: by so many the mean gain has to be above zero.
    """
    if failures:
        return Decision(CHALLENGER, "Sanity checks failed: " + " ".join(failures))
    if champion is None:
        return Decision(CHAMPION, "It passes the sanity checks, and there was no champion.")
    if found is None:
        return Decision(CHALLENGER, f"Not comparable: there is too little that {champion} was not trained on.")
    said = f"log score {found.mean:+.5f} a row against {champion}, standard error {found.standard_error:.5f}"
    if found.mean > standard_errors * found.standard_error:
        return Decision(CHAMPION, f"Better: {said}.")
    return Decision(CHALLENGER, f"Not better by {standard_errors:g} standard errors: {said}.")
