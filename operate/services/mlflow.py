"""The embedded MLflow: what models were trained, how good they were, and which is the champion. On 127.0.0.1."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import urllib.request
from contextlib import suppress

from lakehouse.errors import SettingError
from lakehouse.settings import PREFIX, Settings
from ml.tracking.moved_store import follow_the_move
from operate.services import ports
from operate.services.mlflow_shown import HEALTH
from serving.live.access import token_of

_ANSWER_S = 2.0
_MEMORY = "ports.json"


class MlflowServer:
    """Shows the embedded store of runs, which is in `<home>/mlflow`; training writes it, with or without this server.

    A supervisor calls `prepare`, runs `command()` and asks `is_ready`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._folder = settings.mlflow_folder
        self.output = settings.logs / "mlflow.log"

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it; empty if it has never been started here."""
        with suppress(FileNotFoundError, ValueError, KeyError):
            known = json.loads((self._folder / _MEMORY).read_text(encoding="utf-8"))
            return f"http://{ports.LOOPBACK}:{known['mlflow_port']}"
        return ""

    def prepare(self) -> list[str]:
        """Settles the port. Out: what the user should know.

        :raises SettingError: MLflow is not installed.
        :raises ServiceError: the asked port is taken.
        """
        if not is_installed():
            raise missing_extra("mlflow")
        self.output.parent.mkdir(parents=True, exist_ok=True)
        follow_the_move(self._folder)
        _, notes = ports.settle(self._folder / _MEMORY, {"mlflow_port": self.settings.mlflow_port})
        return notes

    def command(self) -> list[str]:
        """For after `prepare`. Artifacts are read where they are, by the process that shows them."""
        port = self.url.rsplit(":", 1)[1]
        listen = ["--host", ports.LOOPBACK, "--port", port]
        return [sys.executable, "-m", "operate.services.mlflow_shown", "--store", self.settings.mlflow_uri, *listen]

    def environment(self) -> dict[str, str]:
        """Ours, with the token that it asks for, but nothing is told to anybody, and of MLflow's eight processes for
        jobs that nobody gives it none.
        """
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        token = {f"{PREFIX}LIVE_TOKEN": token_of(self.settings)}
        return {name: each for name, each in os.environ.items() if not name.startswith("MLFLOW_")} | quiet | token

    def is_ready(self) -> bool:
        """Does it answer?"""
        with suppress(OSError), urllib.request.urlopen(f"{self.url}{HEALTH}", timeout=_ANSWER_S) as said:
            return bool(said.status == 200)
        return False


def is_installed() -> bool:
    """Is the extra `ml` there?"""
    return importlib.util.find_spec("mlflow") is not None


def missing_extra(module: str) -> SettingError:
    """A module of the extra `ml` is not there."""
    return SettingError(f"{module} is not installed.", "the extra `ml`", "pip install 'storefront-lakehouse[ml]'")
