"""How a model stands, as a line."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from ml.drift.standing import newest_rows, standings

NOTE = {"models": {"m": {"version": 2, "reason": ""}}}


def row(day: int, variable: str = "price", **other: Any) -> dict[str, Any]:
    found = {"measure": "psi", "rows": 80, "value": 0.1, "low": 0.0, "high": 0.4, "is_within": True}
    keys = {"model_name": "m", "model_version": 2, "observed_on": date(2020, 1, day), "variable": variable}
    return found | keys | other


def said(*rows: dict[str, Any], reason: str = "") -> tuple[bool | None, str]:
    (found,) = standings({"models": {"m": {"version": 2, "reason": reason}}}, rows)
    return found.is_within, found.said


def test_a_day_out_of_its_band_is_named_for_a_week() -> None:
    old, out = row(1, value=0.9, is_within=False), row(3, value=0.5, is_within=False)
    assert said(old, row(7)) == (False, "version 2: left its band: psi of price (0.9, at most 0.4) on 2020-01-01")
    assert said(old, row(8)) == (True, "version 2: within its band, 2020-01-08 to 2020-01-08")
    assert newest_rows(NOTE, [old, out, row(8)]) == [out, row(8)]


def test_the_newest_day_and_the_worst_feature_come_first() -> None:
    left = [row(3, f"f{number}", value=number, is_within=False) for number in range(1, 6)]
    low = row(4, "bought", measure="outcome", value=0.1, low=0.2, high=0.4, is_within=False)
    assert said(*left, low)[1] == (
        "version 2: left its band: outcome of bought (0.1, at least 0.2) on 2020-01-04; "
        "psi of f5 (5, at most 0.4), f4 (4, at most 0.4), f3 (3, at most 0.4) and 2 more on 2020-01-03"
    )


def test_what_cannot_be_said_has_its_reason() -> None:
    few = row(3, rows=25, high=None, is_within=None)
    assert said(few) == (None, "version 2: not judged yet: too few rows, at most 25 a day")
    assert said(reason="no day is complete") == (None, "version 2: not judged yet: no day is complete")
    assert said(row(3), reason="it is gone")[1].endswith("2020-01-03 to 2020-01-03; not judged since: it is gone")
    (none,) = standings({"models": {"m": {"version": None, "reason": "there is no champion"}}}, [row(3)])
    assert (none.version, none.said) == (None, "not judged yet: there is no champion")
    assert standings({}, [row(3)]) == []


@pytest.mark.parametrize("version", [1, 3])
def test_rows_of_another_version_do_not_count(version: int) -> None:
    other = row(9, model_version=version, value=9.0, is_within=False)
    assert said(row(3), other) == (True, "version 2: within its band, 2020-01-03 to 2020-01-03")
