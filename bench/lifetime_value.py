"""How long lifetime value takes for as many buyers as the store has: fit, score, and the report on what came after.

The buyers are the synthetic store's, whose laws are known: the result also says which parameters were found again.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Annotated, Any, TypeVar

import numpy as np
import pandas as pd
import typer

from bench.command import Keep
from bench.record import keep, recorded
from ingest.customers import DAY_S, Customers
from ingest.shape import StoreShape
from lakehouse.command import run_alone
from ml.lifetime_value.holdout import Holdout
from ml.lifetime_value.model import HORIZON_DAYS, fit_lifetime_value, predicted
from ml.lifetime_value.report import report
from ml.lifetime_value.summary import Summary
from operate.supervisor import Say
from operate.terminal import TOOLS

BUYERS = 110_000
CALIBRATION_DAYS = 152
SEED = 1

_REPEATS_PER_BUYER = 0.31
_Out = TypeVar("_Out")


def measure(buyers: int) -> dict[str, Any]:
    """About so many buyers, who came over five months. Out: times in seconds, and what was found."""
    load_before = os.getloadavg()
    orders = _orders(buyers)
    first = orders.groupby("customer")["day"].transform("min")
    orders = orders[first < CALIBRATION_DAYS]
    summary, holdout = _summary(orders), _holdout(orders)
    fit_times, model = _timed("fit", lambda: fit_lifetime_value(summary))
    score_times, predictions = _timed("score", lambda: predicted(model, summary))
    report_times, found = _timed(
        "report", lambda: report(model, summary, predictions, holdout, HORIZON_DAYS, np.random.default_rng(SEED))
    )
    shape = StoreShape()
    return {
        "buyers": len(summary),
        "repeat_buyers": summary.repeat_buyers,
        **fit_times,
        **score_times,
        **report_times,
        "true": {
            "bg_nbd": {"r": shape.order_r, "alpha": shape.order_alpha_days, "a": shape.leave_a, "b": shape.leave_b},
            "gamma_gamma": {"p": shape.spend_p, "q": shape.spend_q, "v": shape.spend_gamma_cents / 100},
        },
        "bg_nbd": model.bg_nbd.values(),
        "gamma_gamma": model.gamma_gamma.values() if model.gamma_gamma else None,
        "warnings": list(model.warnings),
        "metrics": found.metrics,
        "packages": {name: version(name) for name in ("numpy", "scipy", "pandas")},
        "load_average_before": [round(value, 2) for value in load_before],
        "load_average_after": [round(value, 2) for value in os.getloadavg()],
    }


def _orders(buyers: int) -> pd.DataFrame:
    """One row per order until the end of the horizon: customer, day, value in USD."""
    per_day = buyers * (1 + _REPEATS_PER_BUYER) / CALIBRATION_DAYS
    customers = Customers(StoreShape(), 0.0, per_day, np.random.default_rng(SEED))
    until = CALIBRATION_DAYS + round(HORIZON_DAYS)
    parts = [customers.orders_until(day * DAY_S) for day in range(1, until + 1)]
    return pd.DataFrame(
        {
            "customer": np.concatenate([part.customer for part in parts]),
            "day": np.concatenate([part.at_s for part in parts]) / DAY_S,
            "value": np.concatenate([part.value_cents for part in parts]) / 100,
        }
    ).sort_values(["customer", "day"], ignore_index=True)


def _summary(orders: pd.DataFrame) -> Summary:
    so_far = orders[orders["day"] < CALIBRATION_DAYS]
    by_customer = so_far.groupby("customer")
    first, last = by_customer["day"].min(), by_customer["day"].max()
    repeats = so_far[by_customer.cumcount() > 0]
    value = repeats.groupby("customer")["value"].mean().reindex(first.index, fill_value=0.0)
    frequency = (by_customer.size() - 1).to_numpy(np.int64)
    return Summary(frequency, (last - first).to_numpy(), (CALIBRATION_DAYS - first).to_numpy(), value.to_numpy())


def _holdout(orders: pd.DataFrame) -> Holdout:
    customers = orders["customer"].max() + 1
    first = orders.groupby("customer")["day"].min()

    def within(start: float, end: float) -> tuple[Any, Any]:
        some = orders[orders["day"].between(start, end, inclusive="left")]
        who = some["customer"]
        return np.bincount(who, minlength=customers), np.bincount(who, some["value"], customers)

    cohort = np.char.add("month ", (first // 30.4 + 1).astype(int).astype(str).to_numpy(str))
    cutoff = CALIBRATION_DAYS
    return Holdout(*within(cutoff, cutoff + HORIZON_DAYS), *within(cutoff - HORIZON_DAYS, cutoff), cohort)


def _timed(name: str, work: Callable[[], _Out]) -> tuple[dict[str, float], _Out]:
    """Seconds that passed and seconds of CPU, which other programs on the machine change little."""
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    done = work()
    passed_s, cpu_s = time.perf_counter() - start_s, time.process_time() - start_cpu_s
    return {f"{name}_s": round(passed_s, 2), f"{name}_cpu_s": round(cpu_s, 2)}, done


def bench_lifetime_value(
    show: Say,
    buyers: Annotated[int, typer.Option(help="about so many")] = BUYERS,
    keep_at: Keep = None,
) -> int:
    """Fit, score, and the report on what came after, of simulated buyers. Prints JSON."""
    result = recorded(measure(buyers), datetime.now(UTC))
    if keep_at:
        keep(result, keep_at)
    show(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(run_alone(bench_lifetime_value, TOOLS))
