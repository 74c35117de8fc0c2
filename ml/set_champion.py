"""`lakehouse ml champion MODEL VERSION`: another version is in force from the next round of scores on, or none."""

from __future__ import annotations

from typing import Annotated

import typer
from mlflow.exceptions import MlflowException

from lakehouse.settings import Settings
from lakehouse.visible import print_visible
from ml.models import Name
from ml.tracking.promotion import CHAMPION
from ml.tracking.runs import Runs


def set_champion(
    settings: Settings,
    model: Annotated[Name, typer.Argument(help="purchase-intent or lifetime-value")],
    version: Annotated[
        str, typer.Argument(help="its number in MLflow; `none`: nothing scores until the next training")
    ],
) -> int:
    """Whatever the training has decided. Exit code 0 when the model has this champion."""
    runs = Runs(settings)
    try:
        if version == "none":
            runs.client.delete_registered_model_alias(model, CHAMPION)
        else:
            runs.client.set_registered_model_alias(model, CHAMPION, version)
    except MlflowException as error:
        print_visible(f"{model} has no version {version}: {error.message}", to_stderr=True)
        return 1
    print_visible(f"{model}: the champion is {version}")
    return 0
