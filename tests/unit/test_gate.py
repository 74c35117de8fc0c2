"""When a candidate becomes champion, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest

from ml.gate import CHALLENGER, CHAMPION, Gain, decide, gain


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
    assert gain(champion[:1], champion[:1]) == Gain(0.0, 0.0)
