"""How champions stand, from the rows of gold.model_drift and the note beside them: a line each for people.

Plain Python: `lakehouse status` shows it also where nothing that models need is installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

Row = Mapping[str, Any]

NEWEST_DAYS = 7
NEVER = "not judged yet: `lakehouse up` does it, and `lakehouse ml drift` at once"
_NAMED = 3


@dataclass(frozen=True)
class Standing:
    """:param is_within: None: it cannot be said. :param said: a line. :param left: the rows out of their band."""

    model: str
    version: int | None
    is_within: bool | None
    said: str
    left: Sequence[Row]


def standings(note: Mapping[str, Any], rows: Sequence[Row]) -> list[Standing]:
    """In: the newest note of gold.model_drift, and its rows. Out: how each champion stands by its newest days."""
    return [
        _standing(name, state["version"], state["reason"], _newest(rows, name, state["version"]))
        for name, state in note.get("models", {}).items()
    ]


def newest_rows(note: Mapping[str, Any], rows: Sequence[Row]) -> list[Row]:
    """In: as above. Out: the rows of the champions' newest days."""
    return [row for name, state in note.get("models", {}).items() for row in _newest(rows, name, state["version"])]


def _newest(rows: Sequence[Row], model: str, version: int | None) -> list[Row]:
    mine = [row for row in rows if (row["model_name"], row["model_version"]) == (model, version)]
    last = max((row["observed_on"] for row in mine), default=date.min)
    return [row for row in mine if last - row["observed_on"] < timedelta(days=NEWEST_DAYS)]


def _standing(model: str, version: int | None, reason: str, rows: Sequence[Row]) -> Standing:
    left = [row for row in rows if row["is_within"] is False]
    judged = sorted(row["observed_on"] for row in rows if row["is_within"] is not None)
    is_within = False if left else True if judged else None
    if left:
        said = f"left its band: {'; '.join(_by_day(left))}"
    elif judged:
        said = f"within its band, {judged[0]} to {judged[-1]}"
    elif rows:
        said = f"not judged yet: too few rows, at most {max(row['rows'] for row in rows):,} a day"
    else:
        said = f"not judged yet: {reason}"
    if rows and reason:
        said += f"; not judged since: {reason}"
    return Standing(model, version, is_within, f"version {version}: {said}" if version else said, left)


def _by_day(left: Sequence[Row]) -> list[str]:
    """For each day and measure, the newest first, what was out of its band."""
    groups: dict[tuple[date, str], list[Row]] = {}
    for row in sorted(left, key=lambda row: (row["observed_on"], row["measure"]), reverse=True):
        groups.setdefault((row["observed_on"], row["measure"]), []).append(row)
    return [f"{measure} of {_named(rows)} on {day}" for (day, measure), rows in groups.items()]


def _named(rows: Sequence[Row]) -> str:
    """The worst first."""
    worst = sorted(rows, key=_distance, reverse=True)
    more = f" and {len(rows) - _NAMED} more" if len(rows) > _NAMED else ""
    return ", ".join(f"{row['variable']} ({_found(row)})" for row in worst[:_NAMED]) + more


def _distance(row: Row) -> float:
    return float(row["value"] / row["high"] if row["value"] > row["high"] else row["low"] - row["value"])


def _found(row: Row) -> str:
    end, of = ("at most", row["high"]) if row["value"] > row["high"] else ("at least", row["low"])
    return f"{row['value']:.3g}, {end} {of:.3g}"
