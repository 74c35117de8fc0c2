"""The models there are, by their name in MLflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pandas as pd
import typer
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from pyspark.sql import SparkSession

from lakehouse.errors import InputError
from lakehouse.settings import Settings
from ml.lifetime_value import registry as lifetime_registry
from ml.lifetime_value import train_and_register as value
from ml.purchase_intent import registry as intent_registry
from ml.purchase_intent import train_and_register as intent
from ml.tracking.runs import Runs
from ml.tracking.training_result import Judged, Say, Trained


@dataclass(frozen=True)
class Model:
    """:param train: silver.events as it is -> a registered version.
    :param input_of: the input of a run, read at the version of silver.events that the run names.
    :param repeat: such an input -> the training, with the parameters of the run.
    """

    train: Callable[[SparkSession, Settings, Runs, Say], Trained[Any]]
    input_of: Callable[[SparkSession, Settings, Run], pd.DataFrame]
    repeat: Callable[[pd.DataFrame, Run], Judged]


MODELS: Mapping[str, Model] = {
    lifetime_registry.NAME: Model(value.train_lifetime_value, value.input_of, value.repeat),
    intent_registry.NAME: Model(intent.train_purchase_intent, intent.input_of, intent.repeat),
}

Name = Literal["lifetime-value", "purchase-intent"]
OneModel = Annotated[Name | None, typer.Option("--model", help="not all: lifetime-value or purchase-intent")]


def run_of(runs: Runs, run_id: str) -> tuple[str, Run]:
    """A run, and the name of its model.

    :raises InputError: there is no such run, or it is of something else.
    """
    try:
        run = runs.client.get_run(run_id)
    except MlflowException:
        raise InputError(f"There is no run {run_id} in {runs.named}.", "a run_id as MLflow shows it") from None
    name = runs.client.get_experiment(run.info.experiment_id).name
    if name not in MODELS:
        raise InputError(f"Run {run_id} is of {name}.", f"a run of {' or '.join(MODELS)}")
    return name, run
