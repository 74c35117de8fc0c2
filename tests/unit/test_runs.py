"""Which model is in force, as MLflow's registry says it."""

from __future__ import annotations

import pytest
from mlflow.exceptions import MlflowException

from lakehouse.settings import Settings
from ml.gate import CHAMPION
from ml.runs import Runs


def test_there_is_no_champion_of_an_unknown_model_or_without_the_alias(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(settings)
    assert runs.champion("lifetime-value") is None
    runs.client.create_registered_model("lifetime-value")
    assert runs.champion("lifetime-value") is None
    version = runs.client.create_model_version("lifetime-value", source=str(settings.home))
    runs.client.set_registered_model_alias("lifetime-value", CHAMPION, version.version)
    found = runs.champion("lifetime-value")
    assert found is not None and str(found.version) == str(version.version)

    def away(_name: str, _alias: str) -> None:
        raise MlflowException("the database is locked")

    monkeypatch.setattr(runs.client, "get_model_version_by_alias", away)
    with pytest.raises(MlflowException, match="locked"):
        runs.champion("lifetime-value")
