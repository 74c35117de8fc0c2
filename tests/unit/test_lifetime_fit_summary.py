"""`lakehouse ml fit-summary`: a CSV file in, two fits or a clear refusal out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lakehouse.errors import InputError
from ml.lifetime_value.fit_summary import fit_summary, read_summary
from ml.lifetime_value.max_likelihood import FitError
from ml.lifetime_value.model import fit_lifetime_value
from tests.lifetime_by_hand import Laws, store_of, summary_at

HEADER = "frequency,recency,T,monetary_value"
FINE = "2,10,30,9.5"


def written(tmp_path: Path, *lines: str) -> Path:
    file = tmp_path / "customers.csv"
    file.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return file


def silent(warning: str) -> None:
    raise AssertionError(warning)


def test_a_file_gives_both_fits(tmp_path: Path) -> None:
    """Columns in any order, others between them, a mark of UTF-8 before them."""
    summary = summary_at(store_of(Laws(), 12_000, (0.0, 100.0), 152.0, seed=8), 152.0)
    assert summary.monetary_value is not None
    rows = zip(summary.age, summary.frequency, summary.monetary_value, summary.recency, strict=True)
    lines = [f"{age!r},c{i},{x},{m!r},{t_x!r}" for i, (age, x, m, t_x) in enumerate(map(_plain, rows))]
    file = written(tmp_path, "\ufeffT,id, frequency,monetary_value,recency", *lines)
    found = fit_summary(file, silent)
    model = fit_lifetime_value(summary)
    assert model.gamma_gamma
    assert found == {
        "bg_nbd": model.bg_nbd.values() | {"log_likelihood": model.bg_nbd.log_likelihood},
        "gamma_gamma": model.gamma_gamma.values(),
    }
    assert json.loads(json.dumps(found)) == found
    assert list(found["bg_nbd"]) == ["r", "alpha", "a", "b", "log_likelihood"]
    assert list(found["gamma_gamma"]) == ["p", "q", "v"]


def _plain(row: tuple[np.float64, ...]) -> tuple[float, int, float, float]:
    age, x, m, t_x = row
    return float(age), int(x), float(m), float(t_x)


@pytest.mark.parametrize("value", ["", "0"])
def test_values_that_are_not_there_leave_gamma_gamma_out(tmp_path: Path, value: str) -> None:
    told: list[str] = []
    lines = [f"{x},{x and 10 + i % 7},{30 + i % 5},{value}" for i, x in enumerate([0, 0, 1, 2, 0, 1, 3] * 20)]
    assert fit_summary(written(tmp_path, HEADER, *lines), told.append)["gamma_gamma"] is None
    without = [line.rsplit(",", 1)[0] for line in lines]
    found = fit_summary(written(tmp_path, "frequency,recency,T", *without), told.append)
    assert found["gamma_gamma"] is None and found["bg_nbd"]["r"] > 0
    assert sum("No value is predicted" in each for each in told) == 2
    assert any("80 of 140 customers have bought again" in each for each in told)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "is empty"),
        ([HEADER], "has no customers"),
        (["frequency,T,value", FINE], "has no column recency; it has frequency, T, value"),
        (["x,t_x,T", "1,2,3"], "has no column frequency, recency; it has x, t_x, T"),
        ([HEADER, FINE, "two,10,30,9.5"], "line 3: frequency is 'two'\n  Expected: a whole number"),
        ([HEADER, FINE, "1.5,10,30,9.5"], "line 3: frequency is '1.5'\n  Expected: a whole number"),
        ([HEADER, FINE, "2,,30,9.5"], "line 3: recency is ''\n  Expected: a number"),
        ([HEADER, FINE, "2,10"], "line 3: T is ''"),
        ([HEADER, FINE, "2,10,inf,9.5"], "line 3: T is 'inf'"),
        ([HEADER, FINE, "2,10,30,much"], "line 3: monetary_value is 'much'"),
        ([HEADER, FINE, FINE, "2,31,30,9.5"], "line 4: recency 31 > T 30"),
        ([HEADER, FINE, "0,5,30,0"], "line 3: frequency 0 with recency 5"),
        ([HEADER, FINE, "-1,5,30,0"], "line 3: frequency -1"),
        ([HEADER, FINE, "1,5,30,-2"], "line 3: monetary_value -2"),
        ([HEADER, FINE, "", "1,-5,30,2"], "line 4: recency -5"),
    ],
)
def test_a_file_that_cannot_be_used_says_where_and_why(tmp_path: Path, lines: list[str], message: str) -> None:
    file = written(tmp_path, *lines) if lines else tmp_path / "customers.csv"
    file.touch()
    with pytest.raises(InputError) as refusal:
        fit_summary(file, silent)
    assert "customers.csv" in str(refusal.value) and message in str(refusal.value)


def test_few_rows_that_cannot_be_used_are_left_out_and_counted(tmp_path: Path) -> None:
    good = [f"{x},{x and 10 + i % 7},{30 + i % 5},{5 + i % 3}" for i, x in enumerate([0, 0, 1, 2, 0, 1, 3] * 20)]
    bad = ["NA,1,30,5", "1e300,1,30,5", "2,nan,30,5", "2,31,30,5", "0,3,30,5", "1,2,30,-1", "1,2"]
    told: list[str] = []
    found = fit_summary(written(tmp_path, HEADER, *good[:3], *bad, *good[3:]), told.append)
    assert told[0].startswith("7 of 147 rows cannot be used and are left out, the first in line 5: frequency is 'NA'.")
    assert found == fit_summary(written(tmp_path, HEADER, *good), told.append)
    with pytest.raises(InputError, match=r"8 of 148 rows cannot be used: .*--most-left-out"):
        fit_summary(written(tmp_path, HEADER, *good, *bad, bad[0]), told.append)
    with_all = written(tmp_path, HEADER, *good, *bad, bad[0])
    assert fit_summary(with_all, told.append, most_left_out=0.1) == found
    with pytest.raises(InputError, match="line 2: frequency is 'NA'"):
        fit_summary(written(tmp_path, HEADER, *bad), silent, most_left_out=1.0)


@pytest.mark.parametrize("unit", [7.0, 30.4375, 365.25, 86_400.0, 1 / 3, 0.1])
def test_times_in_another_unit_are_the_same_customers(tmp_path: Path, unit: float) -> None:
    """Times that were equal, and are a bit apart once they are divided, or differences of such, stay equal."""
    lines, days = [], [(x, x and 10.0 + i % 21, 30.0) for i, x in enumerate([0, 0, 1, 2, 0, 1, 3] * 20)]
    for number, (x, t_x, age) in enumerate(days):
        first = 0.1 * number  # a difference of two moments
        recency, cut_off = (first + t_x) / unit - first / unit, (first + age) / unit - first / unit
        lines.append(f"{x},{recency!r},{cut_off!r},NA")
    read = read_summary(written(tmp_path, HEADER, *lines), silent)
    assert len(read) == len(days)
    assert ((read.recency == read.age) == [t_x == age for _, t_x, age in days]).all()
    assert ((read.recency == 0) == [t_x == 0 for _, t_x, _ in days]).all()
    assert read.monetary_value is not None and np.isnan(read.monetary_value).all()


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.csv: No such file"):
        read_summary(tmp_path / "nowhere.csv", silent)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"frequency,recency,T\n\xff\xfe,1,2\n")
    with pytest.raises(InputError, match="a CSV file in UTF-8"):
        read_summary(binary, silent)


def test_too_few_rows_cannot_be_fitted(tmp_path: Path) -> None:
    with pytest.raises(FitError, match="3 customers"):
        fit_summary(written(tmp_path, HEADER, FINE, FINE, FINE), silent)
    with pytest.raises(FitError, match="none of 9 customers"):
        fit_summary(written(tmp_path, HEADER, *["0,0,30,0"] * 9), silent)
