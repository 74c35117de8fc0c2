"""Which of two models goes on: the rule by which a candidate becomes the champion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ml.lifetime_summary import Floats

CHAMPION, CHALLENGER = "champion", "challenger"


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


def gain(candidate: Floats, champion: Floats) -> Gain:
    """In: per row the logarithm of the probability that each had given to what came (Good 1952), in one order."""
    difference = candidate - champion
    error = difference.std(ddof=1) / np.sqrt(len(difference)) if len(difference) > 1 else 0.0
    return Gain(float(difference.mean()), float(error))


def decide(failures: Sequence[str], champion: str | None, found: Gain | None, standard_errors: float) -> Decision:
    """:param failures: of the sanity checks, as sentences.
    :param champion: its name; None: there is none.
    :param found: None: it cannot be compared, for it knew a part of the holdout.
    :param standard_errors: by so many the mean gain has to be above zero.
    """
    if failures:
        return Decision(CHALLENGER, "Sanity checks failed: " + " ".join(failures))
    if champion is None:
        return Decision(CHAMPION, "It passes the sanity checks, and there was no champion.")
    if found is None:
        return Decision(CHALLENGER, f"Not comparable: {champion} was trained on a part of the holdout.")
    said = f"log score {found.mean:+.5f} a row against {champion}, standard error {found.standard_error:.5f}"
    if found.mean > standard_errors * found.standard_error:
        return Decision(CHAMPION, f"Better: {said}.")
    return Decision(CHALLENGER, f"Not better by {standard_errors:g} standard errors: {said}.")
