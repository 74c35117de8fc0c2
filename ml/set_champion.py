"""`lakehouse ml champion MODEL VERSION`: another version is in force from the next round of scores on, or none."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from mlflow.exceptions import MlflowException

from lakehouse.errors import LakehouseError
from lakehouse.settings import load_settings
from lakehouse.visible import print_visible
from ml.lifetime_value import registry as lifetime_registry
from ml.purchase_intent import registry as intent_registry
from ml.tracking.promotion import CHAMPION
from ml.tracking.runs import Runs


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit code 0 when the model has this champion."""
    parser = argparse.ArgumentParser(
        prog="lakehouse ml champion", description="Choose the version that scores, whatever the training has decided."
    )
    parser.add_argument("model", choices=(intent_registry.NAME, lifetime_registry.NAME))
    parser.add_argument("version", help="its number in MLflow; `none`: nothing scores until the next training")
    given = parser.parse_args(arguments)
    try:
        runs = Runs(load_settings())
        if given.version == "none":
            runs.client.delete_registered_model_alias(given.model, CHAMPION)
        else:
            runs.client.set_registered_model_alias(given.model, CHAMPION, given.version)
    except MlflowException as error:
        print_visible(f"{given.model} has no version {given.version}: {error.message}", to_stderr=True)
        return 1
    except LakehouseError as error:
        print_visible(error, to_stderr=True)
        return 1
    print_visible(f"{given.model}: the champion is {given.version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
