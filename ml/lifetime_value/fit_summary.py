"""`lakehouse ml fit-summary`: both fits of a summary that comes as a CSV file."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from lakehouse.command import AsJson
from lakehouse.errors import InputError
from lakehouse.visible import print_visible
from ml.lifetime_value.model import fit_lifetime_value
from ml.lifetime_value.summary import VALUE, Floats, Ints, Summary, untrue

NEEDED = ("frequency", "recency", "T")
NOT_KNOWN = frozenset({"", "na", "n/a", "<na>", "nan", "null", "none"})
MOST_LEFT_OUT = 0.05
_ROUNDING = 1e-9
"""Share of T by which times may differ that were the same before they were divided into another unit."""


def fit_summary(file: Path, warn: Callable[[str], None], most_left_out: float = MOST_LEFT_OUT) -> dict[str, Any]:
    """In: a CSV file, one row per customer: frequency, recency, T and, where known, monetary_value; see `Summary`.
    Other columns are ignored. Out: {"bg_nbd": {r, alpha, a, b, log_likelihood}, "gamma_gamma": {p, q, v}}, with None
    for gamma_gamma where no value can be fitted. Alpha is in the file's unit of time, v in its unit of money.

    :param warn: is told, in sentences, what makes the numbers doubtful, and how many rows are left out.
    :param most_left_out: share of the rows that may be left out because they cannot be used.
    :raises InputError: the file is missing, empty, or more rows than that cannot be used; with the first of them.
    :raises FitError: too few customers, or nobody who bought again.
    """
    model = fit_lifetime_value(read_summary(file, warn, most_left_out))
    for warning in model.warnings:
        warn(warning)
    bg_nbd = model.bg_nbd.values() | {"log_likelihood": model.bg_nbd.log_likelihood}
    return {"bg_nbd": bg_nbd, "gamma_gamma": model.gamma_gamma.values() if model.gamma_gamma else None}


def show_fit(
    file: Annotated[Path, typer.Argument(help="one row per customer")],
    most_left_out: Annotated[
        float, typer.Option(metavar="SHARE", help="of the rows that may be left out because they cannot be used")
    ] = MOST_LEFT_OUT,
    as_json: AsJson = False,
) -> int:
    """Gamma-Gamma where values are known. Columns: frequency (repeat orders), recency (from the first to the last), T
    (from the first to now), monetary_value.
    """
    found = fit_summary(file, partial(print_visible, to_stderr=True), most_left_out)
    print_visible(json.dumps(found) if as_json else _text(found))
    return 0


def _text(found: dict[str, Any]) -> str:
    lines = [f"BG/NBD       {_numbers(found['bg_nbd'])}"]
    if found["gamma_gamma"]:
        lines.append(f"Gamma-Gamma  {_numbers(found['gamma_gamma'])}")
    return "\n".join(lines)


def _numbers(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:,.4f}" for name, value in values.items())


def read_summary(file: Path, warn: Callable[[str], None], most_left_out: float = MOST_LEFT_OUT) -> Summary:
    """The customers of a CSV file that can be used, in its order. A monetary_value that is empty or NA is not known.

    :raises InputError: as above.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            return _read(file, csv.DictReader(text), warn, most_left_out)
    except OSError as problem:
        raise InputError(f"{file}: {problem.strerror}", "a CSV file that can be read", "correct the path") from None
    except (UnicodeDecodeError, csv.Error) as problem:
        raise InputError(f"{file}: {problem}", "a CSV file in UTF-8", "save it as that") from None


def _read(file: Path, reader: csv.DictReader[str], warn: Callable[[str], None], most_left_out: float) -> Summary:
    found = [name.strip() for name in reader.fieldnames or ()]
    if not found:
        raise InputError(f"{file} is empty", f"a first line with {', '.join(NEEDED)}", "give another file")
    missing = [name for name in NEEDED if name not in found]
    if missing:
        raise InputError(
            f"{file} has no column {', '.join(missing)}; it has {', '.join(found)}",
            f"{', '.join(NEEDED)}, and {VALUE} where it is known",
            "name the columns of the first line like this",
        )
    reader.fieldnames = found
    columns = [*NEEDED, *([VALUE] if VALUE in found else [])]
    lines: list[int] = []
    rows: list[list[float]] = []
    unusable: dict[int, tuple[str, str]] = {}  # line -> what was found, what would have been right
    count = 0
    for row in reader:
        count += 1
        try:
            rows.append([_number(name, row[name]) for name in columns])
            lines.append(reader.line_num)
        except _UnusableError as problem:
            unusable[reader.line_num] = problem.args
    if not count:
        raise InputError(f"{file} has no customers", "one row per customer after the first line", "give another file")
    values = np.array(rows, dtype=np.float64).reshape(len(rows), len(columns))
    frequency = values[:, 0].astype(np.int64)
    age = values[:, 2]
    recency = _without_rounding(frequency, values[:, 1], age)
    value = values[:, 3] if VALUE in found else None
    untrue_rows = untrue(frequency, recency, age, value)
    unusable |= {lines[row]: reason for row, reason in untrue_rows.items()}
    if unusable:
        line = min(unusable)
        what, expected = unusable[line]
        share = f"{len(unusable):,} of {count:,} rows cannot be used"
        if len(unusable) == count or len(unusable) > most_left_out * count:
            next_step = f"{share}: correct them, or allow more with --most-left-out"
            raise InputError(f"{file}, line {line}: {what}", expected, next_step)
        warn(f"{share} and are left out, the first in line {line}: {what}.")
    usable = np.setdiff1d(np.arange(len(rows)), list(untrue_rows)).astype(np.int64)
    return Summary(frequency[usable], recency[usable], age[usable], None if value is None else value[usable])


class _UnusableError(Exception):
    """:param args: what was found, and what would have been right."""


def _without_rounding(frequency: Ints, recency: Floats, age: Floats) -> Floats:
    """Recency as it was before a rounding made it differ from T, or from 0 where the first order is the last."""
    recency = np.where(np.abs(recency - age) <= _ROUNDING * np.abs(age), age, recency)
    is_first = (np.abs(recency) <= _ROUNDING * np.abs(age)) & (frequency == 0)
    return np.where(is_first, 0.0, recency)


def _number(name: str, text: str | None) -> float:
    given = (text or "").strip()
    if name == VALUE and given.casefold() in NOT_KNOWN:
        return float("nan")
    try:
        number = float(given)
    except ValueError:
        number = float("nan")
    if not np.isfinite(number) or (name == "frequency" and not (number.is_integer() and abs(number) < 2**53)):
        raise _UnusableError(f"{name} is {given!r}", "a whole number" if name == "frequency" else "a number")
    return number
