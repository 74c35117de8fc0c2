"""Models that were never trained, and an MLflow that has them: for tests of what is done with a champion."""

from __future__ import annotations

import mlflow
import numpy as np
import pandas as pd

from lakehouse.settings import Settings
from ml.lifetime_value import registry as lifetime_registry
from ml.lifetime_value.max_likelihood import Fit
from ml.lifetime_value.model import LifetimeValue
from ml.purchase_intent import registry as intent_registry
from ml.purchase_intent.columns import FEATURES
from ml.purchase_intent.model import IntentModel, IntentSettings, train
from ml.tracking.promotion import CHAMPION
from ml.tracking.runs import Runs
from tests.silver_of_store import BEGINS_AT

VALUE, INTENT = lifetime_registry.NAME, intent_registry.NAME


def fit(**parameters: float) -> Fit:
    return Fit(tuple(parameters), np.log(list(parameters.values())), None, -1.0, ())


def value_model(alpha: float, q: float = 3.7446) -> LifetimeValue:
    """That of the published CDNOW customers, but for these parameters."""
    return LifetimeValue(fit(r=0.2426, alpha=alpha, a=0.7929, b=2.4258), fit(p=6.2488, q=q, v=15.4477), ())


def intent_model(seed: int) -> IntentModel:
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame(rng.random((200, len(FEATURES))), columns=list(FEATURES))
    rows = rows.assign(bought=rng.random(200) < rows["price"], user_id=range(200), event_id=range(200))
    return train(rows.assign(cut_off_at=range(200)), IntentSettings(folds=2, min_each=20), seed)


class Registry:
    """The embedded MLflow of a home."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self._runs = settings, Runs(settings)

    def register_value(self, model: LifetimeValue, is_ours: bool = True) -> str:
        """Out: its version. :param is_ours: its run says what those of our training say."""
        with self._runs.run(VALUE, "made up"):
            mlflow.set_tags({"cut_off_at": BEGINS_AT.isoformat()} if is_ours else {})
            return lifetime_registry.register(model)

    def register_intent(self, model: IntentModel) -> str:
        """Out: its version."""
        with self._runs.run(INTENT, "made up"):
            mlflow.set_tag("trained_until_at", BEGINS_AT.isoformat())
            return intent_registry.register(model)

    def promote(self, model: str, version: str | None) -> None:
        """:param version: None: nobody is champion."""
        if version is None:
            self._runs.client.delete_registered_model_alias(model, CHAMPION)
        else:
            self._runs.client.set_registered_model_alias(model, CHAMPION, version)
