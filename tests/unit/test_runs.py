"""Which model is in force, as MLflow's registry says it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from mlflow.exceptions import MlflowException

from lakehouse.settings import Settings
from ml.set_champion import set_champion
from ml.tracking.promotion import CHAMPION
from ml.tracking.runs import ModelError, Runs


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


def test_a_command_chooses_the_champion_or_none(settings: Settings) -> None:
    runs = Runs(settings)
    runs.client.create_registered_model("lifetime-value")
    for _ in range(2):
        runs.client.create_model_version("lifetime-value", source=str(settings.home))
    for version in ("2", "1"):
        assert set_champion(settings, "lifetime-value", version) == 0
        champion = runs.champion("lifetime-value")
        assert champion is not None and str(champion.version) == version
    assert set_champion(settings, "lifetime-value", "3") == 1
    assert set_champion(settings, "purchase-intent", "1") == 1, "no such model yet"
    assert set_champion(settings, "lifetime-value", "none") == 0
    assert runs.champion("lifetime-value") is None


def test_a_version_that_no_training_of_ours_has_made_is_said_as_such(settings: Settings) -> None:
    runs = Runs(settings)
    runs.client.create_registered_model("lifetime-value")
    with runs.run("lifetime-value", "by hand") as run_id:
        pass
    version = runs.client.create_model_version("lifetime-value", source=str(settings.home), run_id=run_id)
    with pytest.raises(ModelError, match="lifetime-value version 1 has a run without a time in the tag") as raised:
        runs.told_at(version, "cut_off_at")
    assert "`lakehouse ml champion lifetime-value none`" in raised.value.next_step
    runs.client.set_tag(run_id, "cut_off_at", "some day")
    with pytest.raises(ModelError):
        runs.told_at(version, "cut_off_at")
    runs.client.set_tag(run_id, "cut_off_at", "2019-12-01T00:00:00+00:00")
    assert runs.told_at(version, "cut_off_at") == datetime(2019, 12, 1, tzinfo=UTC)
