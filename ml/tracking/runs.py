"""Runs and models in MLflow: what a training leaves behind, and which model is in force."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from lakehouse.conninfo import without_login
from lakehouse.errors import LakehouseError, ServiceError
from lakehouse.settings import Settings
from ml.tracking.moved_store import follow_the_move
from ml.tracking.promotion import CHAMPION, Decision, Gain, decide

_NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What MLflow says of a model that is not registered, and of an alias that is not set."""


class ModelError(LakehouseError):
    """A registered version is none that our training has made, or is one for other rows than today's.

    :param what: is wrong with it, as the rest of a sentence.
    """

    def __init__(self, version: ModelVersion, what: str) -> None:
        super().__init__(
            f"{version.name} version {version.version} {what}.",
            "a version that `lakehouse ml train` has registered",
            f"run `lakehouse ml champion {version.name} none`, then `lakehouse ml train`",
        )


@dataclass(frozen=True)
class Logged:
    """What a run shows.

    :param params: what it was trained with. :param tags: where from: silver's version, code and so on.
    :param tables, figures: by the file's name without its ending.
    """

    params: Mapping[str, Any]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    figures: Mapping[str, Figure] = field(default_factory=dict)


class Runs:
    """The runs and the registry of one MLflow: the embedded one, or that of the settings."""

    def __init__(self, settings: Settings) -> None:
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # what is trained here is told to nobody
        for chatty in ("mlflow", "alembic"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        self._settings, self.uri = settings, settings.mlflow_uri
        self.named = without_login(self.uri)
        settings.mlflow_folder.mkdir(parents=True, exist_ok=True)
        if not settings.mlflow_tracking_uri:
            follow_the_move(settings.mlflow_folder)
        mlflow.set_tracking_uri(self.uri)
        mlflow.set_registry_uri(self.uri)
        self.client = MlflowClient(self.uri, self.uri)

    @contextmanager
    def run(self, model: str, name: str) -> Iterator[str]:
        """A run of this name in the experiment of a model; what fails in it is marked so, with the reason. Out: its id.

        :raises ServiceError: MLflow does not answer.
        """
        try:
            experiment = self._experiment(model)
        except (MlflowException, OSError) as error:
            raise ServiceError(
                f"MLflow at {self.named} does not answer: {error}",
                "",
                "start it, or see LAKEHOUSE_MLFLOW_TRACKING_URI",
            ) from error
        with mlflow.start_run(experiment_id=experiment, run_name=name) as active:
            try:
                yield active.info.run_id
            except LakehouseError as error:
                mlflow.set_tag("failure", str(error))
                raise

    def log(self, logged: Logged) -> None:
        """Into the run that is open."""
        mlflow.log_params(dict(logged.params))
        mlflow.set_tags(dict(logged.tags))
        mlflow.log_metrics(dict(logged.metrics))
        for name, figure in logged.figures.items():
            mlflow.log_figure(figure, f"plots/{name}.png")
        for name, table in logged.tables.items():
            mlflow.log_text(table.to_csv(index=False), f"tables/{name}.csv")

    def champion(self, model: str) -> ModelVersion | None:
        """The version in force; None while there is none.

        :raises MlflowException: that cannot be known now. To go on would make any candidate champion.
        """
        try:
            return self.client.get_model_version_by_alias(model, CHAMPION)
        except MlflowException as error:
            if error.error_code not in _NOT_THERE:
                raise
            return None

    def settle(
        self, model: str, version: str, failures: Sequence[str], gain_over: Callable[[ModelVersion], Gain | None]
    ) -> Decision:
        """Decides on the alias of a version that the open run has made, moves it, and says why.

        :param failures: of the sanity checks, as sentences. :param gain_over: compares it with the champion.
        """
        champion = self.champion(model)
        named = None if champion is None else f"version {champion.version}"
        found = None if champion is None or failures else gain_over(champion)
        decision = decide(failures, named, found, self._settings.ml_gate_standard_errors)
        self.client.set_model_version_tag(model, version, "decision", decision.reason)
        self.client.set_registered_model_alias(model, decision.alias, version)
        mlflow.set_tags({"alias": decision.alias, "decision": decision.reason})
        return decision

    def told_at(self, version: ModelVersion, tag: str) -> datetime:
        """A time that the training of a version has noted.

        :raises ModelError: it has not: it is no version that our training has made.
        """
        try:
            return datetime.fromisoformat(self.client.get_run(version.run_id).data.tags[tag])
        except (KeyError, ValueError):
            raise ModelError(version, f"has a run without a time in the tag {tag}") from None

    def table(self, run_id: str, name: str) -> pd.DataFrame:
        """A table that a run has logged."""
        with tempfile.TemporaryDirectory() as folder:
            return pd.read_csv(self.client.download_artifacts(run_id, f"tables/{name}.csv", folder))

    def _experiment(self, model: str) -> str:
        known = self.client.get_experiment_by_name(model)
        if known is not None:
            return str(known.experiment_id)
        # A server keeps artifacts as it was set up to; the embedded store beside its runs.
        here = None if self._settings.mlflow_tracking_uri else (self._settings.mlflow_folder / "artifacts").as_uri()
        return str(self.client.create_experiment(model, here))


@contextmanager
def files_of(version: ModelVersion) -> Iterator[Path]:
    """The folder of a version's files, for as long as the block runs."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(mlflow.artifacts.download_artifacts(f"models:/{version.name}/{version.version}", dst_path=folder))
