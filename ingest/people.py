"""Numbers for people and sessions: which number a user has, which session a visit belongs to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

FIRST_USER = 100_000_000
USERS = 899_999_963  # a prime, so that a multiplication permutes the numbers below it
STRIDE = 387_420_489


@dataclass(frozen=True)
class People:
    """Users of one stretch. Customers have odd places and browsers even ones, so that no two share a user id.

    :param first: where in the round of all user ids this stretch begins; other stretches begin elsewhere.
    :param salt: makes the sessions of this stretch unlike those of any other.
    """

    first: int
    salt: int

    def user_ids(self, place: Ints) -> Ints:
        return FIRST_USER + (self.first + place % USERS * STRIDE) % USERS

    def sessions(self, place: Ints, visit: Ints) -> tuple[Words, Words]:
        """128 bits per visit: equal for the same user and visit number, and unlike for all others."""
        high = _mixed(_mixed(place.astype(np.uint64) + np.uint64(self.salt)) ^ visit.astype(np.uint64))
        return high, _mixed(high + np.uint64(self.salt | 1))


def customers(index: Ints) -> Ints:
    return 2 * index + 1


def browsers(index: Ints) -> Ints:
    return 2 * index


def earlier(known: Ints, rng: np.random.Generator) -> Ints:
    """For each count of known people, one of them: as often one of the last ten as one of the ten before 100."""
    back = np.exp(rng.random(len(known)) * np.log(np.maximum(known, 1))).astype(np.int64)
    return np.clip(known - back, 0, np.maximum(known - 1, 0))


def _mixed(words: Words) -> Words:
    """SplitMix64's finisher: each bit of the result depends on each bit of the input."""
    words = words + np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
