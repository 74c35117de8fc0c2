"""`python -m bench.lifetime_value`, with few buyers."""

from __future__ import annotations

import json

import pytest

from bench.lifetime_value import measure


def test_the_buyers_are_those_of_the_laws_and_the_result_is_json() -> None:
    result = json.loads(json.dumps(measure(6_000)))
    assert result["buyers"] == pytest.approx(6_000, rel=0.1)
    assert result["bg_nbd"]["r"] == pytest.approx(result["true"]["bg_nbd"]["r"], rel=0.3)
    assert result["gamma_gamma"]["p"] == pytest.approx(result["true"]["gamma_gamma"]["p"], rel=0.3)
    assert abs(result["metrics"]["purchases_relative_error"]) < 0.15
    assert abs(result["metrics"]["value_relative_error"]) < 0.15
    assert min(result["fit_s"], result["score_s"], result["report_s"]) > 0
