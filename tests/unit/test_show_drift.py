"""`lakehouse ml drift`: what is printed of the days that were judged."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from lakehouse.settings import Settings
from lakehouse.streams import Stop
from ml import show_drift
from ml.drift.standing import standings

NOTE = {"models": {"m": {"version": 2, "reason": ""}}}


def row(measure: str, variable: str, **other: Any) -> dict[str, Any]:
    keys = {"model_name": "m", "model_version": 2, "observed_on": date(2020, 1, 3), "measure": measure}
    found = {"rows": 80, "value": 0.1, "expected": 0.2, "low": 0.0, "high": 0.4, "is_within": True}
    return keys | {"variable": variable} | found | {"computed_at": datetime(2026, 1, 1, tzinfo=UTC)} | other


ROWS = [
    row("psi", "hour"),
    row("psi", "price", value=0.9, is_within=False),
    row("outcome", "bought", low=None, high=None, is_within=None),
]


def shown(monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]], **options: Any) -> list[int]:
    """Runs the command on such a table. Out: for how many days it asked."""
    asked: list[int] = []
    monkeypatch.setattr(
        show_drift, "in_session", lambda _name, _layers, work, settings: work(None, settings, Stop()) or 0
    )
    monkeypatch.setattr(show_drift, "refuse_unfinished", lambda *_: None)
    monkeypatch.setattr(show_drift, "Runs", lambda _: None)
    monkeypatch.setattr(show_drift, "keep_drift", lambda *given: asked.append(given[-1]))
    monkeypatch.setattr(show_drift, "kept_drift", lambda *_: (standings(NOTE, rows), rows))
    assert show_drift.show_drift(Settings(), **options) == 0, "a report, also where a band is left"
    return asked


def test_a_line_per_model_then_outcomes_and_what_left_its_band(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(monkeypatch, ROWS, days=3) == [3]
    first, head, *lines = capsys.readouterr().out.splitlines()
    assert first == "m version 2: left its band: psi of price (0.9, at most 0.4) on 2020-01-03"
    assert head.split()[:4] == ["model_name", "observed_on", "measure", "variable"]
    assert [line.split()[2:4] for line in lines] == [["outcome", "bought"], ["psi", "price"]]
    shown(monkeypatch, ROWS[:1])
    assert capsys.readouterr().out == "m version 2: within its band, 2020-01-03 to 2020-01-03\n"


def test_as_json_it_has_all_rows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(monkeypatch, ROWS, as_json=True) == [7]
    found = json.loads(capsys.readouterr().out)
    assert [each["is_within"] for each in found["models"]] == [False]
    assert [each["is_within"] for each in found["rows"]] == [True, False, None]
    assert found["rows"][1]["observed_on"] == "2020-01-03"
