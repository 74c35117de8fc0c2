"""Models of which open carts are bought: the same again and again, fair to test, clear when they cannot be."""

from __future__ import annotations

import pickle
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from ml.purchase_intent.columns import CATEGORIES, FEATURES
from ml.purchase_intent.model import (
    KINDS,
    CartDataError,
    IntentSettings,
    held_out,
    train,
    user_folds,
    with_outcome,
)
from tests.open_carts import carts

SETTINGS = IntentSettings(folds=3)


@pytest.fixture(scope="module")
def some() -> pd.DataFrame:
    return carts(1500)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_carts_in_any_order_make_the_same_model_bit_by_bit(some: pd.DataFrame, kind: str) -> None:
    settings = replace(SETTINGS, kind=kind)  # type: ignore[arg-type]
    told = train(some, settings, seed=7).predict(some)
    again = train(some.sample(frac=1.0, random_state=1), settings, seed=7).predict(some)
    assert told.tobytes() == again.tobytes()
    assert ((told > 0) & (told < 1)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_survives_the_disk_and_knows_nothing_of_its_rows(some: pd.DataFrame, kind: str) -> None:
    model = train(some, replace(SETTINGS, kind=kind), seed=7)  # type: ignore[arg-type]
    told = pickle.loads(pickle.dumps(model)).predict(some)
    assert told.tobytes() == model.predict(some).tobytes()
    assert (model.carts, model.bought) == (len(some), some["bought"].sum())
    assert getattr(model.classifier, "cv", None) is None
    assert len(model.predict(some.head(0))) == 0


def test_models_see_what_there_is_to_see_and_are_calibrated(some: pd.DataFrame) -> None:
    tested = held_out(some, KINDS, SETTINGS, seed=7)
    bought = tested["bought"].astype(bool)
    aucs = {kind: roc_auc_score(bought, tested[kind]) for kind in KINDS}
    assert aucs["logistic"] > 0.7 and aucs["boosted"] > 0.7
    assert 0.4 < aucs["product_rule"] < 0.6
    for kind in KINDS:
        assert tested[kind].mean() == pytest.approx(bought.mean(), abs=0.08)


def test_with_many_carts_calibration_is_isotonic(some: pd.DataFrame) -> None:
    few, many = (train(some, replace(SETTINGS, isotonic_from=number), 7).classifier for number in (10_000, 100))
    assert (few.method, many.method) == ("sigmoid", "isotonic")


def test_tests_are_of_later_carts_and_of_users_that_the_model_has_not_seen(
    some: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[pd.DataFrame] = []
    told: list[pd.DataFrame] = []

    class Noted:
        def predict(self, rows: pd.DataFrame) -> np.ndarray:
            told.append(rows)
            return np.zeros(len(rows))

    def noted(rows: pd.DataFrame, *_: object) -> Noted:
        trained.append(rows)
        return Noted()

    monkeypatch.setattr("ml.purchase_intent.model.train", noted)
    unknown = some.assign(bought=some["bought"].where(some.index < 1400, None))
    tested = held_out(unknown, ["boosted"], SETTINGS, seed=7)
    begins_at = tested["cut_off_at"].min()
    assert len(trained) == SETTINGS.folds and len(tested) == 350
    for rows, asked in zip(trained, told, strict=True):
        assert not set(rows["user_id"]) & set(asked["user_id"])
        assert (rows["outcome_at"] < begins_at).all() and len(rows) > 500
    assert sorted(pd.concat(told)["event_id"]) == list(tested["event_id"]) == [f"{n:06}" for n in range(1050, 1400)]


def test_folds_part_users_and_depend_on_the_seed(some: pd.DataFrame) -> None:
    parts = [set(some["user_id"].iloc[mine]) for _, mine in user_folds(some["user_id"], 3, seed=1)]
    assert sum(map(len, parts)) == some["user_id"].nunique() == len(set.union(*parts))
    assert parts != [set(some["user_id"].iloc[mine]) for _, mine in user_folds(some["user_id"], 3, seed=2)]


def test_what_was_never_seen_has_a_probability_too(some: pd.DataFrame) -> None:
    nothing_known = some.head(2).assign(**{name: None for name in FEATURES if name not in CATEGORIES})
    for kind in KINDS:
        told = train(some, replace(SETTINGS, kind=kind), seed=7).predict(nothing_known)
        assert np.isfinite(told).all(), kind


def test_a_feature_that_is_empty_in_training_hinders_no_model(some: pd.DataFrame) -> None:
    rows = some.assign(last_order_days=None, price=Decimal("0.00"))
    for kind in KINDS:
        assert np.isfinite(train(rows, replace(SETTINGS, kind=kind), seed=7).predict(some)).all(), kind


def refused(rows: pd.DataFrame) -> CartDataError:
    with pytest.raises(CartDataError) as raised:
        train(rows, SETTINGS, seed=7)
    with pytest.raises(CartDataError):
        held_out(rows, KINDS, SETTINGS, seed=7)
    assert raised.value.expected and raised.value.next_step
    return raised.value


def test_what_cannot_be_learned_from_is_refused(some: pd.DataFrame) -> None:
    assert "0 open carts of 0 customers" in refused(some.head(0)).found
    assert "0 bought" in refused(some.assign(bought=False)).found
    assert "1,500 bought" in refused(some.assign(bought=True)).found
    assert "of 1 customers" in refused(some.assign(user_id=5)).found
    assert "0 open carts" in refused(some.assign(bought=None)).found
    one_buyer = some.assign(user_id=some["user_id"].where(~some["bought"].astype(bool), -1))
    assert "Without a part of the customers" in refused(one_buyer).found
    with pytest.raises(CartDataError, match="without price, hour"):
        train(some, SETTINGS, seed=7).predict(some.drop(columns=["price", "hour"]))


def test_carts_that_can_still_be_bought_are_left_out(some: pd.DataFrame) -> None:
    open_still = some.assign(bought=some["bought"].where(some.index % 2 == 0, None))
    assert train(open_still, SETTINGS, seed=7).carts == len(with_outcome(open_still)) == 750
