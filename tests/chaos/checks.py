"""Named checks with their numbers, and the line that sums them up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import duckdb
import pyarrow as pa


class Verdict(StrEnum):
    PASSED = "ok"
    FAILED = "FAILED"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """:param numbers: what the verdict rests on, or why it was skipped."""

    name: str
    verdict: Verdict
    numbers: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        numbers = "  ".join(
            f"{name} {number:,}" if isinstance(number, int) else f"{name} {number}"
            for name, number in self.numbers.items()
        )
        return f"{self.verdict:8}{self.name}: {numbers}"


def check(name: str, holds: bool, **numbers: Any) -> Check:
    return Check(name, Verdict.PASSED if holds else Verdict.FAILED, numbers)


def skipped(name: str, reason: str) -> Check:
    return Check(name, Verdict.SKIPPED, {"because": reason})


def same_rows(name: str, expected: pa.Table, actual: pa.Table, **numbers: Any) -> Check:
    """Are they the same rows, each as often, whatever their order? Columns are matched by name; money is exact."""
    missing = rows_only_in(expected, actual)
    unexpected = rows_only_in(actual, expected)
    counts = {"expected": expected.num_rows, "found": actual.num_rows}
    counts |= {"missing": missing.num_rows, "unexpected": unexpected.num_rows}
    examples = {
        f"first_{kind}": rows.slice(0, 1).to_pylist()[0]
        for kind, rows in (("missing", missing), ("unexpected", unexpected))
        if rows.num_rows
    }
    return check(name, not examples, **counts, **numbers, **examples)


def rows_only_in(left: pa.Table, right: pa.Table) -> pa.Table:
    """Rows of `left` without a counterpart in `right`; of equal rows as many as it has more."""
    if set(left.column_names) != set(right.column_names):
        raise ValueError(f"Columns differ: {left.column_names} and {right.column_names}")
    duck = duckdb.connect()
    duck.register("l", left)
    duck.register("r", right.select(left.column_names))
    return duck.sql("FROM l EXCEPT ALL FROM r").to_arrow_table()


def summed_up(checks: Sequence[Check]) -> str:
    """`N passed, N failed`, and how many were skipped if any were."""
    count = Counter(each.verdict for each in checks)
    line = f"{count[Verdict.PASSED]} passed, {count[Verdict.FAILED]} failed"
    return line + (f", {count[Verdict.SKIPPED]} skipped" if count[Verdict.SKIPPED] else "")
