"""What the cards in `ml/cards/` say of a run: for each of their places the text, from what the run has logged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from ml.drift.measures import BINS, FALSE_ALARM, MIN_ROWS, SMALLEST_PSI
from ml.lifetime_value.calibration import EVERYBODY
from ml.lifetime_value.model import FEW_REPEAT_BUYERS, HORIZON_DAYS, INTERVAL
from ml.purchase_intent.columns import FEATURES
from ml.purchase_intent.drift import NOT_OF_THE_CART
from ml.purchase_intent.model import KINDS
from ml.purchase_intent.report import METRICS
from ml.purchase_intent.training import LARGEST_AUC
from ml.tracking.promotion import LARGEST_BIAS

COUNT, NUMBER, SHARE, CHANGE, USD = "{:,.0f}", "{:.3f}", "{:.1%}", "{:+.1%}", "{:,.2f} USD"

_TARGETS = {"purchases": ("orders", "{:,.1f}"), "value": ("value", USD)}
_PREDICTORS = {"": "the model", "last_period_": "the last period again", "mean_rate_": "everybody the same"}
_KINDS = {
    "boosted": "boosted trees",
    "logistic": "logistic regression",
    "product_rule": "the product's own rate, no model",
    "base_rate": "the base rate, no model",
}


@dataclass(frozen=True)
class Logged:
    """Of a run. :param table: the one that its card needs: cohorts, or metrics."""

    run_id: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    table: pd.DataFrame

    def metric(self, name: str, form: str) -> str:
        return shown(self.metrics.get(name), form)

    def at(self, tag: str) -> str:
        return f"{datetime.fromisoformat(self.tags[tag]):%Y-%m-%d %H:%M:%S} UTC"

    def counts(self, *params: str) -> dict[str, str]:
        return {name: COUNT.format(int(self.params[name])) for name in params}


def shown(value: float | None, form: str) -> str:
    """A dash where there is no such number."""
    return "–" if value is None or pd.isna(value) else form.format(value)


def customer_values(run: Logged) -> dict[str, str]:
    """For the places of `lifetime-value.md`."""
    scores = [
        (
            of,
            predictor,
            *(
                run.metric(f"{prefix}{target}_{name}", form)
                for name, form in (
                    ("predicted_total", total),
                    ("observed_total", total),
                    ("relative_error", CHANGE),
                    ("mae", NUMBER),
                    ("spearman", NUMBER),
                )
            ),
        )
        for target, (of, total) in _TARGETS.items()
        for prefix, predictor in _PREDICTORS.items()
    ]
    totals = [
        (
            _TARGETS[row.target][0],
            shown(row.predicted, _TARGETS[row.target][1]),
            " to ".join(shown(each, _TARGETS[row.target][1]) for each in (row.low, row.high)),
            shown(row.observed, _TARGETS[row.target][1]),
        )
        for row in run.table[run.table["cohort"] == EVERYBODY].itertuples()
    ]
    intervals = [
        (
            of,
            run.metric(f"{target}_interval_share", SHARE),
            run.metric(f"{target}_interval_expected_share", SHARE),
            run.metric(f"{target}_pit_ks", NUMBER),
        )
        for target, (of, _) in _TARGETS.items()
    ]
    return {
        **_common(run),
        **run.counts("customers", "repeat_buyers", "holdout_days"),
        "cut_off_at": run.at("cut_off_at"),
        "scores": _lines(scores),
        "totals": _lines(totals),
        "intervals": _lines(intervals),
        "horizon_days": COUNT.format(HORIZON_DAYS),
        "interval": f"{INTERVAL[1] - INTERVAL[0]:.0%}",
        "few_repeat_buyers": COUNT.format(FEW_REPEAT_BUYERS),
    }


def cart_values(run: Logged) -> dict[str, str]:
    """For the places of `purchase-intent.md`."""
    found = run.table.set_index(["model", "metric"])
    scores = [(_KINDS[kind], *(_with_interval(found.loc[(kind, name)]) for name in METRICS)) for kind in KINDS[::-1]]
    kind = run.params["kind"]
    return {
        **_common(run),
        **run.counts("carts", "bought", "customers", "trained_carts", "trained_bought"),
        "trained_until_at": run.at("trained_until_at"),
        "tested_carts": run.metric("tested_carts", COUNT),
        "tested_users": run.metric("tested_users", COUNT),
        "bought_share": run.metric("bought_share", SHARE),
        "scores": _lines(scores),
        "kind": _KINDS[kind],
        "mean_predicted": run.metric(f"{kind}_mean_predicted", SHARE),
        "relative_error": run.metric(f"{kind}_relative_error", CHANGE),
        "horizon_hours": COUNT.format(int(run.params["horizon_s"]) / 3600),
        "features": COUNT.format(len(FEATURES)),
        "not_of_the_cart": ", ".join(f"`{name}`" for name in NOT_OF_THE_CART),
        "largest_auc": f"{LARGEST_AUC:g}",
    }


def _common(run: Logged) -> dict[str, str]:
    tags = run.tags
    origin = [
        ("silver.events", f"version {tags['silver_version']}, committed {run.at('silver_committed_at')}"),
        ("store clock", run.at("store_clock_at")),
        ("code", f"`{tags['code']}`"),
        ("seed", run.params["seed"]),
        ("decision", f"{tags['alias']}: {tags['decision']}"),
    ]
    return {
        "run_id": run.run_id,
        "origin": _lines(origin),
        "warnings": f"- The run warns: {tags['warnings']}" if tags["warnings"] else "- The run has no warning.",
        "smallest_psi": f"{SMALLEST_PSI:g}",
        "bins": COUNT.format(BINS),
        "days": COUNT.format(1 / FALSE_ALARM),
        "min_rows": COUNT.format(MIN_ROWS),
        "largest_bias": f"{LARGEST_BIAS:.0%}",
    }


def _with_interval(row: pd.Series) -> str:
    value, low, high = (shown(row[name], NUMBER) for name in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _lines(rows: Iterable[Sequence[str]]) -> str:
    """Of a Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
