"""When a candidate becomes champion, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest

from ml.tracking.promotion import CHALLENGER, CHAMPION, Gain, decide, gain


def test_the_first_that_passes_the_checks_is_champion() -> None:
    assert decide([], None, None, 1.0).alias == CHAMPION
    refused = decide(["The total is off."], None, None, 1.0)
    assert refused.alias == CHALLENGER
    assert "The total is off." in refused.reason


@pytest.mark.parametrize(
    ("found", "alias"),
    [
        (Gain(0.02, 0.01), CHAMPION),
        (Gain(0.01, 0.01), CHALLENGER),
        (Gain(0.005, 0.01), CHALLENGER),
        (Gain(-0.02, 0.001), CHALLENGER),
        (Gain(0.0, 0.0), CHALLENGER),  # the same model again
        (None, CHALLENGER),
    ],
)
def test_another_goes_on_only_if_it_is_better_beyond_chance(found: Gain | None, alias: str) -> None:
    decision = decide([], "version 3", found, 1.0)
    assert decision.alias == alias
    assert "version 3" in decision.reason


def test_a_better_model_that_fails_a_check_does_not_go_on() -> None:
    assert decide(["It ranks customers no better than chance."], "version 3", Gain(1.0, 0.0), 1.0).alias == CHALLENGER


def test_the_gain_is_the_mean_difference_row_by_row_with_its_error() -> None:
    champion = np.log(np.array([0.5, 0.2, 0.4, 0.1]))
    found = gain(champion + np.array([0.1, 0.3, 0.1, 0.3]), champion)
    assert found.mean == pytest.approx(0.2)
    assert found.standard_error == pytest.approx(np.std([0.1, 0.3, 0.1, 0.3], ddof=1) / 2)


def test_of_a_single_row_or_customer_nothing_can_be_said() -> None:
    one = np.log(np.array([0.5, 0.2]))
    for found in (gain(one[:1] + 1, one[:1]), gain(one + 1, one, np.array([7, 7]))):
        assert found.mean > 0 and found.standard_error == np.inf
        assert all(decide([], "version 3", found, errors).alias == CHALLENGER for errors in (0.0, 1.0))


def test_rows_of_one_customer_count_as_one_when_they_say_the_same() -> None:
    champion = np.log(np.full(4, 0.5))
    alone = gain(champion + np.array([0.1, 0.3, 0.2, 0.6]), champion)
    twice = gain(
        np.repeat(champion, 2) + np.repeat([0.1, 0.3, 0.2, 0.6], 2), np.repeat(champion, 2), np.repeat([9, 4, 7, 1], 2)
    )
    assert twice.mean == pytest.approx(alone.mean)
    assert twice.standard_error == pytest.approx(alone.standard_error)
    assert gain(champion + 0.1 * np.arange(4), champion, np.arange(4)) == gain(champion + 0.1 * np.arange(4), champion)
