"""`lakehouse ml fit-summary`: both fits of a summary that comes as a CSV file."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lakehouse.errors import InputError
from ml.lifetime_summary import Summary, SummaryError
from ml.lifetime_value import fit_lifetime_value

NEEDED = ("frequency", "recency", "T")
VALUE = "monetary_value"


def fit_summary(file: Path, warn: Callable[[str], None]) -> dict[str, Any]:
    """In: a CSV file, one row per customer: frequency, recency, T and, where known, monetary_value; see `Summary`.
    Other columns are ignored. Out: {"bg_nbd": {r, alpha, a, b, log_likelihood}, "gamma_gamma": {p, q, v}}, with None
    for gamma_gamma where no value can be fitted. Alpha is in the file's unit of time, v in its unit of money.

    :param warn: is told, in sentences, what makes the numbers doubtful.
    :raises InputError: the file is missing, empty, or has what cannot be true; with the line.
    :raises FitError: too few customers, or nobody who bought again.
    """
    model = fit_lifetime_value(read_summary(file))
    for warning in model.warnings:
        warn(warning)
    bg_nbd = model.bg_nbd.values() | {"log_likelihood": model.bg_nbd.log_likelihood}
    return {"bg_nbd": bg_nbd, "gamma_gamma": model.gamma_gamma.values() if model.gamma_gamma else None}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="lakehouse ml fit-summary",
        description="Fit BG/NBD, and Gamma-Gamma where values are known, to customers in a CSV file: columns frequency "
        "(repeat orders), recency (from the first to the last), T (from the first to now), monetary_value.",
    )
    parser.add_argument("file", type=Path, help="one row per customer")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    found = fit_summary(given.file, lambda line: print(line, file=sys.stderr))
    print(json.dumps(found) if given.json else _text(found))
    return 0


def _text(found: dict[str, Any]) -> str:
    lines = [f"BG/NBD       {_numbers(found['bg_nbd'])}"]
    if found["gamma_gamma"]:
        lines.append(f"Gamma-Gamma  {_numbers(found['gamma_gamma'])}")
    return "\n".join(lines)


def _numbers(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:,.4f}" for name, value in values.items())


def read_summary(file: Path) -> Summary:
    """The customers of a CSV file, in its order. An empty monetary_value is one that is not known.

    :raises InputError: as above.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            return _read(file, csv.DictReader(text))
    except OSError as problem:
        raise InputError(f"{file}: {problem.strerror}", "a CSV file that can be read", "correct the path") from None
    except (UnicodeDecodeError, csv.Error) as problem:
        raise InputError(f"{file}: {problem}", "a CSV file in UTF-8", "save it as that") from None


def _read(file: Path, reader: csv.DictReader[str]) -> Summary:
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
    lines, rows = [], []
    for row in reader:
        rows.append([_number(file, reader.line_num, name, row[name]) for name in columns])
        lines.append(reader.line_num)
    if not rows:
        raise InputError(f"{file} has no customers", "one row per customer after the first line", "give another file")
    values = np.array(rows, dtype=np.float64)
    frequency = values[:, 0].astype(np.int64)
    try:
        return Summary(frequency, values[:, 1], values[:, 2], values[:, 3] if VALUE in found else None)
    except SummaryError as problem:
        found_there, expected = problem.rule
        raise InputError(f"{file}, line {lines[problem.row]}: {found_there}", expected, "correct the line") from None


def _number(file: Path, line: int, name: str, text: str | None) -> float:
    given = (text or "").strip()
    if name == VALUE and not given:
        return float("nan")
    try:
        number = float(given)
    except ValueError:
        number = float("nan")
    if not np.isfinite(number) or (name == "frequency" and not number.is_integer()):
        kind = "a whole number" if name == "frequency" else "a number"
        raise InputError(f"{file}, line {line}: {name} is {given!r}", kind, "correct the line")
    return number
