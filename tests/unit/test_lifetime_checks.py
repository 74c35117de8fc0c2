"""What speaks against a model of customers' value: totals that are off by more than chance makes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ml.lifetime_value.training import failed_checks

GOOD = {
    f"{target}_{name}": value
    for target in ("purchases", "value")
    for name, value in (("relative_error", 0.1), ("relative_standard_error", 0.02), ("spearman", 0.4))
}


@pytest.mark.parametrize(
    ("changed", "failures"),
    [
        ({}, []),
        ({"value_relative_error": 0.26}, ["The total of value is off by +26%; 25% are allowed."]),
        ({"purchases_relative_error": -0.3}, ["The total of purchases is off by -30%; 25% are allowed."]),
        # A hundred customers: chance alone makes as much.
        ({"value_relative_error": 0.31, "value_relative_standard_error": 0.13}, []),
        (
            {"value_relative_error": 0.5, "value_relative_standard_error": 0.13},
            ["The total of value is off by +50%; 39% are allowed."],
        ),
        ({"value_relative_error": 0.3, "value_relative_standard_error": float("nan")}, ["The total of value is off"]),
        ({"purchases_spearman": 0.0}, ["It ranks customers no better than chance."]),
    ],
)
def test_a_total_may_be_off_by_a_quarter_or_by_what_chance_makes(
    changed: dict[str, float], failures: list[str]
) -> None:
    found = failed_checks(SimpleNamespace(metrics=GOOD | changed))  # type: ignore[arg-type]
    assert len(found) == len(failures) and all(a.startswith(b) for a, b in zip(found, failures, strict=True))
