"""What goes into a training of purchase intent, what two models are compared on, and what speaks against using one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from ml.purchase_intent import training as intent_training
from ml.purchase_intent.model import IntentSettings
from ml.purchase_intent.training import INPUT, failed_checks, input_rows, log_scores, train_intent, unseen
from tests.open_carts import carts

GOOD = {
    "bought_share": 0.10,
    "base_rate_log_loss": 0.33,
    "boosted_log_loss": 0.30,
    "boosted_roc_auc": 0.70,
    "boosted_roc_auc_low": 0.66,
    "boosted_roc_auc_high": 0.74,
    "boosted_mean_predicted": 0.105,
    "boosted_relative_error": 0.05,
}


def test_nothing_speaks_against_a_good_model() -> None:
    assert failed_checks(GOOD, "boosted") == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        # As measured on the sample of real rows.
        ({"roc_auc": 0.559, "roc_auc_low": 0.485, "roc_auc_high": 0.628}, r"better than chance: ROC AUC 0.559 \(0.485"),
        ({"roc_auc": 0.86}, "above 0.85: look for a leak"),
        ({"log_loss": 0.33}, "not below that of the base rate"),
        ({"mean_predicted": 0.13, "relative_error": 0.3}, "says 13.0% are bought, of 10.0%"),
        ({"mean_predicted": 0.07, "relative_error": -0.3}, "says 7.0% are bought, of 10.0%"),
    ],
)
def test_each_weakness_is_said(changed: dict[str, float], said: str) -> None:
    failures = failed_checks(GOOD | {f"boosted_{name}": value for name, value in changed.items()}, "boosted")
    assert len(failures) == 1
    assert pd.Series(failures).str.contains(said).all()


def test_a_holdout_of_one_kind_judges_nothing() -> None:
    assert "nothing to tell apart" in failed_checks({"bought_share": 0.0}, "boosted")[0]


def test_the_input_has_known_carts_in_order_and_numbers_for_customers() -> None:
    some = carts(60, users=20)
    unknown = some.assign(bought=some["bought"].where(some.index % 3 > 0, None))
    rows = input_rows(unknown.sample(frac=1.0, random_state=1))
    known = unknown[some.index % 3 > 0].reset_index(drop=True)
    assert tuple(rows.columns) == INPUT
    assert list(rows["cut_off_at"]) == list(known["cut_off_at"])
    assert list(rows["bought"]) == list(known["bought"])
    # One number for one customer, from 0 on, whatever the user_id.
    assert (
        pd.concat([rows["customer"], known["user_id"]], axis=1).drop_duplicates().shape[0] == rows["customer"].nunique()
    )
    assert list(rows["customer"].drop_duplicates()) == list(range(known["user_id"].nunique()))


def test_the_number_of_cores_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intent_training, "KINDS", ("base_rate", "product_rule", "logistic"))
    rows = input_rows(carts(20_000))  # with fewer, linear algebra takes one core anyway
    told = []
    for cores in (1, 2):
        with threadpool_limits(cores):
            training = train_intent(rows, IntentSettings("logistic", folds=2), seed=1)
        told.append((training.metrics, training.model.predict(rows).tobytes()))
    assert told[0] == told[1]


NOON = datetime(2019, 10, 1, 12, tzinfo=UTC)


def opened(*of: tuple[int, int, bool]) -> pd.DataFrame:
    """In: of each cart the customer, the hour, whether it was bought."""
    customer, hour, bought = zip(*of, strict=True)
    at = [NOON + timedelta(hours=each) for each in hour]
    return pd.DataFrame({"customer": customer, "cut_off_at": at, "bought": bought})


def test_two_models_are_compared_on_carts_of_customers_that_neither_knows() -> None:
    rows = opened((1, 0, True), (2, 1, False), (1, 5, True), (3, 5, True), (3, 6, False), (2, 7, False))
    chosen, whose = unseen(rows, NOON + timedelta(hours=5), min_each=1) or pytest.fail("too few")
    assert list(chosen.index) == [3, 4]
    assert whose == "2 carts of customers that are new to both"


def test_with_too_few_new_customers_they_are_compared_on_all_later_carts() -> None:
    rows = opened((1, 0, True), (2, 1, False), (1, 5, True), (3, 5, True), (3, 6, False), (2, 7, False))
    chosen, whose = unseen(rows, NOON + timedelta(hours=5), min_each=2) or pytest.fail("too few")
    assert list(chosen.index) == [2, 3, 4, 5]
    assert whose == "4 carts of all customers, for those of new ones are too few"
    assert unseen(rows, NOON + timedelta(hours=5), min_each=3) is None
    assert unseen(rows, NOON + timedelta(hours=99), min_each=1) is None


def test_a_score_is_the_logarithm_of_what_was_said_of_what_came() -> None:
    class Said:
        def predict_proba(self, features: pd.DataFrame) -> np.ndarray:
            bought = features["price"].to_numpy()
            return np.column_stack([1 - bought, bought])

    rows = carts(4).assign(price=[0.9, 0.9, 0.0, 0.0], bought=[True, False, False, True])
    found = log_scores(Said(), rows)
    assert found[:3] == pytest.approx(np.log([0.9, 0.1, 1.0]))
    assert np.isfinite(found[3]) and found[3] < -30
