"""The lifetime value model as MLflow loads it: this file is what is kept with the model, beside its parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from ml.lifetime_value.model import HORIZON_DAYS, predicted
from ml.lifetime_value.training import from_json, summary_of


class ServedLifetimeValue(PythonModel):
    """In: one row per customer: frequency, recency_days, age_days, monetary_value (NaN: not known). Out: one row each,
    as `ml.lifetime_value.model.predicted`, for `horizon_days` after the cut-off.
    """

    def load_context(self, context: Any) -> None:
        self._model = from_json(Path(context.artifacts["parameters"]).read_text(encoding="utf-8"))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        horizon_days = (params or {}).get("horizon_days", HORIZON_DAYS)
        return predicted(self._model, summary_of(model_input), horizon_days)


set_model(ServedLifetimeValue())
