"""`lakehouse ml train`: all models, one after the other, whatever becomes of one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ClassVar

import pandas as pd
import pytest

from lakehouse.errors import TableError
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from ml import train
from ml.models import MODELS, Model
from ml.tracking.promotion import CHAMPION, Decision
from ml.tracking.training_result import Trained
from ml.train import Untrained, train_each


def refuse(*_: Any) -> Any:
    raise TableError("Nobody had ordered.", "orders", "wait")


def models(**trains: Callable[..., Any]) -> dict[str, Model]:
    return {name: Model(each, refuse, refuse) for name, each in trains.items()}


def test_there_are_both_models() -> None:
    assert list(MODELS) == ["lifetime-value", "purchase-intent"]


def test_one_that_cannot_be_trained_does_not_stop_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "MODELS", models(first=refuse, second=lambda *_: "trained"))
    failed, second = train_each(None, None, None, ["first", "second"], Stop())  # type: ignore[arg-type]
    assert isinstance(failed, Untrained) and failed.model == "first" and "Nobody had ordered" in failed.reason
    assert second == "trained"


def test_what_is_no_reason_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(train, "MODELS", models(first=broken))
    with pytest.raises(ZeroDivisionError):
        list(train_each(None, None, None, ["first"], Stop()))  # type: ignore[arg-type]


def test_after_a_signal_no_other_model_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = Stop()
    monkeypatch.setattr(train, "MODELS", models(first=lambda *_: stop.set(), second=refuse))
    assert len(list(train_each(None, None, None, ["first", "second"], stop))) == 1  # type: ignore[arg-type]


class Judged:
    metrics: ClassVar = {"roc_auc": 0.7}
    scores = pd.DataFrame({"model": ["b"], "roc_auc": [0.7]})
    warnings = ("Few carts.",)


@pytest.mark.parametrize(("given", "told", "code"), [(None, ["a", "b"], 1), ("b", ["b"], 0)])
def test_the_command_says_what_became_of_each(
    given: Any, told: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = Trained("b", "run", "3", Judged(), Decision(CHAMPION, "There was none."))
    monkeypatch.setattr(train, "MODELS", models(a=refuse, b=lambda *_: trained))
    monkeypatch.setattr(train, "refuse_unfinished", lambda *_: None)
    monkeypatch.setattr(train, "Runs", lambda _: None)
    monkeypatch.setattr(train, "in_session", lambda _name, _layers, work, settings: work(None, settings, Stop()) or 0)
    assert train.train(Settings(), given) == code
    text = capsys.readouterr().out
    assert "b version 3, run run" in text and "WARNING: Few carts." in text and "champion: There was none." in text
    assert ("a was not trained: Nobody had ordered." in text) == ("a" in told)
    assert train.train(Settings(), given, as_json=True) == code
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["model"] for line in lines] == told
    assert lines[-1]["metrics"] == {"roc_auc": 0.7} and lines[-1]["alias"] == CHAMPION
