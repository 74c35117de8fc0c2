"""A training of the purchase-intent model: what goes into it, how it is judged, what speaks against using it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ml.purchase_intent.columns import FEATURES
from ml.purchase_intent.model import (
    KINDS,
    Floats,
    IntentModel,
    IntentSettings,
    held_out,
    matrix,
    probabilities,
    train,
    with_outcome,
)
from ml.purchase_intent.report import IntentReport, intent_report
from ml.tracking.promotion import LARGEST_BIAS

INPUT = ("customer", "cut_off_at", "outcome_at", "bought", *FEATURES)
LARGEST_AUC = 0.85
"""Published ones on carts of such stores are below 0.7 (decision 0021): what is above has seen what it must not."""

_SMALLEST = 1e-15  # a certainty that was wrong costs much, not infinitely much


@dataclass(frozen=True)
class IntentTraining:
    """:param model: knows the carts alone whose outcome was known before `trained_until_at`, when the holdout begins.
    :param report: of cross-fitted models of its kind and of all others, on the holdout: see `held_out`.
    """

    model: IntentModel
    report: IntentReport
    trained_until_at: datetime

    @property
    def metrics(self) -> dict[str, float]:
        """`<kind>_<metric>`, with `_low` and `_high` the ends of its interval; what cannot be told is left out."""
        report = self.report
        named = {"tested_carts": report.carts, "tested_users": report.users, "bought_share": report.bought_share}
        for row in report.metrics.itertuples():
            name = f"{row.model}_{row.metric}"
            named |= {name: row.value, f"{name}_low": row.low, f"{name}_high": row.high}
        for kind, rows in report.calibration.groupby("model", sort=False):
            mean = np.average(rows["predicted"], weights=rows["carts"])
            named |= {f"{kind}_mean_predicted": mean, f"{kind}_relative_error": mean / report.bought_share - 1}
        return {name: float(value) for name, value in named.items() if np.isfinite(value)}

    @property
    def scores(self) -> pd.DataFrame:
        return self.report.metrics

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.report.warnings


def input_rows(carts: pd.DataFrame) -> pd.DataFrame:
    """In: rows of `open_carts`. Out: INPUT of those with an outcome, in the order of cut_off_at, then event_id;
    `customer` numbers customers by their first cart, so that nothing leads from it to a user_id.
    """
    known = with_outcome(carts)
    customer, _ = pd.factorize(known["user_id"])
    whose = known[["cut_off_at", "outcome_at"]].assign(customer=customer, bought=known["bought"].to_numpy(bool))
    return pd.concat([whose, matrix(known)], axis=1)[list(INPUT)]


def train_intent(rows: pd.DataFrame, settings: IntentSettings, seed: int) -> IntentTraining:
    """In: rows of `input_rows`, in their order. The same rows, settings and seed make the same training, bit by bit,
    on however many cores.

    :raises CartDataError: see `train` and `held_out`.
    """
    carts = rows.rename(columns={"customer": "user_id"}).assign(event_id=np.arange(len(rows)))
    with threadpool_limits(1):  # on several cores sums have several parts, and other last digits
        tested = held_out(carts, KINDS, settings, seed)
        until_at = tested["cut_off_at"].min()
        model = train(carts[carts["outcome_at"] < until_at], settings, seed)
    report = intent_report(
        tested["bought"].to_numpy(bool),
        tested["user_id"].to_numpy(np.int64),
        {kind: tested[kind].to_numpy() for kind in KINDS},
        np.random.default_rng(seed),
        auc_limit=LARGEST_AUC,
    )
    return IntentTraining(model, report, until_at.to_pydatetime())


def failed_checks(metrics: Mapping[str, float], kind: str) -> list[str]:
    """In: `IntentTraining.metrics`. Out: what speaks against a model of this kind, as sentences; nothing if all is
    well.
    """
    auc, low, high = (metrics.get(f"{kind}_roc_auc{end}") for end in ("", "_low", "_high"))
    if auc is None or low is None or high is None:
        return ["All carts of the holdout were bought, or none: there is nothing to tell apart."]
    failures = []
    if low <= 0.5:
        failures.append(f"It is not shown to be better than chance: ROC AUC {auc:.3f} ({low:.3f} to {high:.3f}).")
    if auc > LARGEST_AUC:
        failures.append(f"ROC AUC {auc:.3f} is above {LARGEST_AUC}: look for a leak.")
    loss, base_loss = metrics[f"{kind}_log_loss"], metrics["base_rate_log_loss"]
    if loss >= base_loss:
        failures.append(f"Log loss {loss:.5f} is not below that of the base rate, {base_loss:.5f}.")
    if abs(metrics[f"{kind}_relative_error"]) > LARGEST_BIAS:
        failures.append(
            f"It says {metrics[f'{kind}_mean_predicted']:.1%} are bought, of {metrics['bought_share']:.1%} that were; "
            f"it may be off by {LARGEST_BIAS:.0%}."
        )
    return failures


def unseen(rows: pd.DataFrame, until_at: datetime, min_each: int) -> tuple[pd.DataFrame, str] | None:
    """In: rows of `input_rows`, and when the later of two trainings ended. Out: those to compare the two on, and whose
    they are: of customers whose first cart is later; if of these fewer than `min_each` were bought, or were not, then
    all later carts; None if those are too few too.

    New customers alone are judged without memory, but what a model makes of a customer's past then counts for nothing.
    Among all later carts the candidate, trained on more customers, may be favoured by what it remembers of them.
    """
    first_at = rows.groupby("customer")["cut_off_at"].transform("min")
    for chosen, whose in (
        (first_at >= until_at, "customers that are new to both"),
        (rows["cut_off_at"] >= until_at, "all customers, for those of new ones are too few"),
    ):
        bought = rows.loc[chosen, "bought"]
        if min(bought.sum(), (~bought).sum()) >= min_each:
            return rows[chosen], f"{len(bought):,} carts of {whose}"
    return None


def log_scores(classifier: Any, rows: pd.DataFrame) -> Floats:
    """In: rows of `input_rows`. Out: per cart the logarithm of the probability that was given to what became of it."""
    said = np.clip(probabilities(classifier, matrix(rows)), _SMALLEST, 1 - _SMALLEST)
    return np.where(rows["bought"], np.log(said), np.log1p(-said))
