"""How a set of waits is summed up, wherever we say how fast something is."""

from __future__ import annotations

from collections.abc import Iterable

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


def percentile(values: Iterable[float], share: float) -> float | None:
    """The smallest value that is not below this share of them; None of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


def percentiles(values: Iterable[float], unit: str, digits: int = 3) -> dict[str, float | None]:
    """`p50_s`, `p95_s`, `p99_s` and `max_s`, or with another unit; each None of no values."""
    ordered = sorted(values)
    found = {name: percentile(ordered, share) for name, share in SHARES.items()}
    return {f"{name}_{unit}": None if value is None else round(value, digits) for name, value in found.items()}
