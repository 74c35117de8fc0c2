"""The lifetime value model in MLflow's registry: a file of parameters, and the source that predicts from them."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema

from ml.lifetime_value import pyfunc_model as lifetime_served
from ml.lifetime_value.features import SUMMARY
from ml.lifetime_value.model import HORIZON_DAYS, LifetimeValue, predicted
from ml.lifetime_value.training import from_json, summary_of, to_json
from ml.tracking.runs import ModelError, files_of

NAME = "lifetime-value"

_PARAMETERS = "parameters.json"
_EXAMPLE = pd.DataFrame([[0, 0.0, 30.0, np.nan], [3, 25.5, 60.0, 31.4]], columns=list(SUMMARY))
"""Made up; no customer of the store."""


def register(model: LifetimeValue) -> str:
    """Logs the model into the run that is open, and makes it a version of NAME. Out: its number."""
    with tempfile.TemporaryDirectory() as folder:
        parameters = Path(folder) / _PARAMETERS
        parameters.write_text(to_json(model), encoding="utf-8")
        # MLflow copies a file with its mode, and our source is for everybody to read: what is in the home is not.
        source = shutil.copyfile(lifetime_served.__file__, Path(folder) / Path(lifetime_served.__file__).name)
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(source),
            artifacts={"parameters": str(parameters)},
            signature=_signature(model),
            input_example=_EXAMPLE,
            pip_requirements=["storefront-lakehouse[ml]"],
            registered_model_name=NAME,
        )
    return str(info.registered_model_version)


def model_of(version: ModelVersion) -> LifetimeValue:
    """The model of a version, from its parameters: none of the code that is kept with them is run.

    :raises ModelError: its files are not those of such a model.
    """
    with files_of(version) as folder:
        try:
            return from_json((folder / "artifacts" / _PARAMETERS).read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError) as error:
            raise ModelError(version, f"has no parameters that can be read ({error!r})") from error


def _signature(model: LifetimeValue) -> ModelSignature:
    inputs = [ColSpec(DataType.long, "frequency"), *(ColSpec(DataType.double, name) for name in SUMMARY[1:])]
    outputs: Any = predicted(model, summary_of(_EXAMPLE), HORIZON_DAYS)
    kinds = {"i": DataType.long, "f": DataType.double}
    said = [ColSpec(kinds[kind.kind], name) for name, kind in outputs.dtypes.items()]
    horizon = ParamSpec("horizon_days", DataType.double, HORIZON_DAYS)
    return ModelSignature(Schema(inputs), Schema(said), ParamSchema([horizon]))
