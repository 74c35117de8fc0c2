"""Which model scores: loaded once, tried again only so often, and said once."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from mlflow.entities.model_registry import ModelVersion

from lakehouse.settings import Settings
from ml.tracking.champions import InForce, asking
from ml.tracking.score_state import ScoreState, read_scores, said


class FakeRegistry:
    """Stands for `Runs`: says which version is champion."""

    version: int | None = 1

    def champion(self, model: str) -> ModelVersion | None:
        return None if self.version is None else ModelVersion(model, str(self.version), 0)


def test_a_version_is_loaded_once_and_a_bad_one_tried_again_after_minutes_or_when_the_alias_moves(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lakehouse")
    registry, loaded, now_s = FakeRegistry(), list[str](), [0.0]

    def load(version: ModelVersion) -> str:
        loaded.append(str(version.version))
        if version.version == "2":
            raise ValueError("no model")
        return f"model {version.version}"

    of_value: Any = InForce("value", load, registry, ScoreState(settings), lambda: now_s[0])  # type: ignore[arg-type]

    def look_up() -> str | None:
        champion = of_value.look_up()
        return champion and champion.model

    assert [look_up(), look_up(), loaded] == ["model 1", "model 1", ["1"]]
    registry.version = 2
    assert [look_up(), look_up(), loaded] == [None, None, ["1", "2"]]
    assert said(read_scores(settings)["models"]["value"]) == "failed: version 2, no model"
    now_s[0] = 299.0
    assert look_up() is None and len(loaded) == 2
    now_s[0] = 301.0
    assert look_up() is None and loaded == ["1", "2", "2"]
    registry.version = 3
    assert look_up() == "model 3"
    with of_value.used():
        pass
    assert said(read_scores(settings)["models"]["value"]) == "in force: version 3"
    champion = of_value.look_up()
    with of_value.used(), asking(champion):
        raise KeyError("weekday")
    assert "value version 3 has failed on rows: KeyError('weekday')" in said(read_scores(settings)["models"]["value"])
    assert look_up() is None
    now_s[0] = 602.0
    assert look_up() == "model 3"
    assert "failed" in said(read_scores(settings)["models"]["value"])  # until it has been seen to work
    with of_value.used():
        pass
    registry.version = None
    assert look_up() is None and said(read_scores(settings)["models"]["value"]) == "no champion"
    assert [record.message for record in caplog.records] == [
        "value: in force: version 1",
        "value: failed: version 2, no model",
        "value: in force: version 3",
        "value: failed: version 3, value version 3 has failed on rows: KeyError('weekday')",
        "value: in force: version 3",
        "value: no champion",
    ]


def test_what_is_no_failure_of_the_model_is_not_hidden(settings: Settings) -> None:
    of_value: Any = InForce("value", str, FakeRegistry(), ScoreState(settings))  # type: ignore[arg-type]
    of_value.look_up()
    with pytest.raises(RuntimeError, match="Kafka"), of_value.used():
        raise RuntimeError("Kafka is gone")
