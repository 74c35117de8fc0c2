"""The purchase-intent model in MLflow's registry, in the format of skops: it holds no code, and loading runs none."""

from __future__ import annotations

from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import infer_signature

from ml.purchase_intent.columns import FEATURES
from ml.purchase_intent.model import IntentModel
from ml.purchase_intent.model_file import TRUSTED, UntrustedError, read_classifier
from ml.tracking.runs import ModelError, files_of

NAME = "purchase-intent"

_UNKNOWN = ("idle_s", "last_order_days", "log_price_to_product", "log_price_to_category")
_EXAMPLE = pd.DataFrame(1.0, index=[0, 1], columns=list(FEATURES)).assign(price=[4.5, 19.9], product_rate=0.1)
_EXAMPLE.loc[1, list(_UNKNOWN)] = np.nan
"""Made up; no cart of the store."""


def register(model: IntentModel) -> str:
    """Logs the model into the run that is open, and makes it a version of NAME. Out: its number.

    As a pyfunc it takes FEATURES as floats, and says two probabilities per row: that the cart is not bought, and that
    it is.
    """
    info = mlflow.sklearn.log_model(
        model.classifier,
        name="model",
        serialization_format="skops",
        skops_trusted_types=list(TRUSTED),
        signature=infer_signature(_EXAMPLE, model.classifier.predict_proba(_EXAMPLE)),
        input_example=_EXAMPLE,
        pip_requirements=mlflow.sklearn.get_default_pip_requirements(include_skops=True),
        pyfunc_predict_fn="predict_proba",
        registered_model_name=NAME,
    )
    return str(info.registered_model_version)


def classifier_of(version: ModelVersion) -> Any:
    """The classifier of a version. MLflow itself would trust what the model's own file says is to be trusted.

    :raises ModelError: it is not made as ours are, or was trained on other features than FEATURES.
    """
    with files_of(version) as folder:
        try:
            classifier = read_classifier(folder / "model.skops")
        except UntrustedError as error:
            raise ModelError(version, str(error)) from error
    known = list(getattr(classifier, "feature_names_in_", ()))
    if known != list(FEATURES):
        differ = sorted(set(known) ^ set(FEATURES)) or ["their order"]
        raise ModelError(version, f"was trained on other features ({', '.join(differ)})")
    return classifier
