"""How likely an open cart is to be bought, told from what was known when it opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from lakehouse.errors import LakehouseError
from ml.purchase_intent.columns import AMOUNTS, CATEGORIES, FEATURES, RATIOS

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Kind = Literal["base_rate", "product_rule", "logistic", "boosted"]
BASELINES: tuple[Kind, ...] = ("base_rate", "product_rule")
KINDS: tuple[Kind, ...] = (*BASELINES, "logistic", "boosted")
"""base_rate says the same of every cart; product_rule knows only how often carts with the product were bought."""


class CartDataError(LakehouseError):
    """The carts that are there cannot be learned from, or lack what a model needs."""


@dataclass(frozen=True)
class IntentSettings:
    """:param kind: which model. :param folds: parts of users, each left out in turn to calibrate and to test.
    :param min_each: fewer carts that were bought, or that were not, are too few to learn from.
    :param isotonic_from: from so many of the rarer kind on calibration is isotonic; with fewer it would follow noise.
    """

    kind: Kind = "boosted"
    folds: int = 5
    min_each: int = 50
    isotonic_from: int = 1000


@dataclass(frozen=True)
class IntentModel:
    """:param classifier: plain scikit-learn; takes a frame of FEATURES as floats. :param carts: it was trained on, of
    which so many were `bought`.
    """

    kind: Kind
    classifier: Any
    carts: int
    bought: int

    def predict(self, rows: pd.DataFrame) -> Floats:
        """In: rows with FEATURES, one per cart. Out: for each the probability that it is bought.

        :raises CartDataError: a feature is missing.
        """
        return probabilities(self.classifier, matrix(rows))


def train(rows: pd.DataFrame, settings: IntentSettings, seed: int) -> IntentModel:
    """In: rows of `open_carts`; those whose outcome is not known are left out. The same rows, in any order, settings
    and seed make the same model, bit by bit.

    Probabilities are calibrated on users that the model beneath had not seen (Niculescu-Mizil and Caruana 2005).

    :raises CartDataError: too few carts were bought, or were not, or too few customers had them; a feature is missing.
    """
    known = with_outcome(rows)
    bought = known["bought"].to_numpy(bool)
    _refuse_too_few(bought, known["user_id"], settings)
    features = matrix(known)
    model = _classifier(settings.kind, seed)
    if settings.kind not in BASELINES:
        parts = list(user_folds(known["user_id"], settings.folds, seed))
        _refuse_one_sided(bought, [train_at for train_at, _ in parts])
        method = "isotonic" if _rarer(bought) >= settings.isotonic_from else "sigmoid"
        model = CalibratedClassifierCV(model, method=method, cv=parts, ensemble=False)
    model.fit(features, bought)
    if settings.kind not in BASELINES:
        model.set_params(cv=None)  # places in the training rows: no part of what was learned
    return IntentModel(settings.kind, model, len(known), int(bought.sum()))


def held_out(rows: pd.DataFrame, kinds: Sequence[Kind], settings: IntentSettings, seed: int) -> pd.DataFrame:
    """How each kind of model does on carts of a later time and of users that it has not seen.

    In: rows of `open_carts`. Out: the newest quarter of those with an outcome, each with one more column per kind: what
    a model says that was trained on other users, and on carts whose outcome was known before the quarter began. Users
    are parted into `folds`, and each part is told by the model of the others, so that no cart of the quarter is lost.

    :raises CartDataError: as `train`.
    """
    known = with_outcome(rows)
    _refuse_too_few(known["bought"].to_numpy(bool), known["user_id"], settings)
    begins_at = known["cut_off_at"].sort_values().iloc[len(known) * 3 // 4]
    is_test = (known["cut_off_at"] >= begins_at).to_numpy()
    is_before = (known["outcome_at"] < begins_at).to_numpy()
    told = pd.DataFrame(np.nan, index=known.index, columns=list(kinds))
    for _, mine in user_folds(known["user_id"], settings.folds, seed):
        is_mine = np.isin(np.arange(len(known)), mine)
        if not (is_test & is_mine).any():
            continue
        for kind in kinds:
            model = train(known[is_before & ~is_mine], replace(settings, kind=kind), seed)
            told.loc[is_test & is_mine, kind] = model.predict(known[is_test & is_mine])
    return pd.concat([known, told], axis=1)[is_test].reset_index(drop=True)


def with_outcome(rows: pd.DataFrame) -> pd.DataFrame:
    """In: rows of `open_carts`. Out: those with an outcome, in the order of cut_off_at, then event_id."""
    known = rows[rows["bought"].notna()]
    return known.sort_values(["cut_off_at", "event_id"], kind="stable").reset_index(drop=True)


def matrix(rows: pd.DataFrame) -> pd.DataFrame:
    """In: rows with FEATURES. Out: these, in their order, as floats; NaN where there was nothing to tell it from."""
    if missing := [name for name in FEATURES if name not in rows]:
        raise CartDataError(
            f"Rows of carts without {', '.join(missing)}.", "the features of `open_carts`", "make the rows with it"
        )
    return rows[list(FEATURES)].astype(float)


def probabilities(classifier: Any, features: pd.DataFrame) -> Floats:
    """Of nothing, nothing: scikit-learn refuses an empty frame."""
    return classifier.predict_proba(features)[:, 1] if len(features) else np.empty(0)


def user_folds(users: pd.Series, folds: int, seed: int) -> Iterator[tuple[Places, Places]]:
    """Places of (the others, one part) for each part; all rows of a user are in one. Users are shuffled by the seed."""
    return GroupKFold(folds, shuffle=True, random_state=seed).split(users, groups=users)


def _classifier(kind: Kind, seed: int) -> Any:
    if kind == "base_rate":
        return DummyClassifier(strategy="prior")
    if kind == "product_rule":
        return make_pipeline(_only("product_rate"), _filled(), StandardScaler(), LogisticRegression())
    if kind == "logistic":
        amounts = make_pipeline(FunctionTransformer(np.log1p), _filled(), StandardScaler())
        columns = [
            ("amounts", amounts, list(AMOUNTS)),
            ("ratios", make_pipeline(_filled(), StandardScaler()), list(RATIOS)),
            ("categories", OneHotEncoder(handle_unknown="ignore"), list(CATEGORIES)),
        ]
        return Pipeline([("columns", ColumnTransformer(columns)), ("model", LogisticRegression(C=0.1, max_iter=2000))])
    trees = HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=100,
        max_leaf_nodes=8,
        min_samples_leaf=40,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
    )
    return make_pipeline(_filled(), trees)  # trees bear gaps, but no column that is all gaps


def _only(name: str) -> ColumnTransformer:
    return ColumnTransformer([("only", "passthrough", [name])])


def _filled() -> SimpleImputer:
    return SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)


def _rarer(bought: npt.NDArray[np.bool_]) -> int:
    return int(min(bought.sum(), (~bought).sum()))


def _refuse_too_few(bought: npt.NDArray[np.bool_], users: pd.Series, settings: IntentSettings) -> None:
    found = f"{len(bought):,} open carts of {users.nunique():,} customers with a known outcome, {bought.sum():,} bought"
    if _rarer(bought) < settings.min_each or users.nunique() < settings.folds:
        raise CartDataError(
            f"{found}.",
            f"at least {settings.min_each} that were bought, as many that were not, and {settings.folds} customers",
            "train again when silver has more events",
        )


def _refuse_one_sided(bought: npt.NDArray[np.bool_], parts: Sequence[Places]) -> None:
    if any(len(np.unique(bought[part])) < 2 for part in parts):
        raise CartDataError(
            "Without a part of the customers, all carts that are left were bought, or none was.",
            "carts of either kind from many customers",
            "train again when silver has more customers",
        )
