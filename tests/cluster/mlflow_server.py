"""A real MLflow tracking server that asks for a login."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from operate.services import ports, process
from tests.programs import free_ports

_USER = "trainer"


class MlflowWithLogin:
    """On 127.0.0.1, with MLflow's app `basic-auth`; models go through the server too.

    :param password: of the one user there is. It is in a file of this user's alone, not on the command line.
    """

    def __init__(self, folder: Path, password: str) -> None:
        self._folder, self._password = folder, password
        (self._port,) = free_ports(1)
        self.url = f"http://{ports.LOOPBACK}:{self._port}"

    def __enter__(self) -> MlflowWithLogin:
        self._folder.mkdir(parents=True)
        users = self._folder / "basic_auth.ini"
        users.touch(mode=0o600)
        users.write_text(
            "[mlflow]\ndefault_permission = NO_PERMISSIONS\ngrant_default_workspace_access = false\n"
            f"database_uri = sqlite:///{self._folder / 'users.db'}\n"
            f"admin_username = {_USER}\nadmin_password = {self._password}\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n",
            encoding="utf-8",
        )
        where = ["--backend-store-uri", f"sqlite:///{self._folder / 'mlflow.db'}"]
        where += ["--artifacts-destination", str(self._folder / "artifacts")]
        listen = ["--host", ports.LOOPBACK, "--port", str(self._port), "--workers", "1"]
        command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", *where, *listen]
        own = {
            "MLFLOW_AUTH_CONFIG_PATH": str(users),
            "MLFLOW_FLASK_SERVER_SECRET_KEY": os.urandom(16).hex(),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        self._log = self._folder / "mlflow.log"
        self._process: subprocess.Popen[bytes] = process.spawn(command, self._log, os.environ | own)
        try:
            self._wait_until_ready()
        except BaseException:
            process.stop(self._process, 20)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        process.stop(self._process, 20)

    def environment(self) -> dict[str, str]:
        """How MLflow's client logs in; it reads this itself."""
        return {"MLFLOW_TRACKING_USERNAME": _USER, "MLFLOW_TRACKING_PASSWORD": self._password}

    def _wait_until_ready(self, timeout_s: float = 180.0) -> None:
        end_s = time.monotonic() + timeout_s
        while not self._is_ready():
            said = self._log.read_text(errors="replace")
            assert self._process.poll() is None and time.monotonic() < end_s, said[-5000:]
            time.sleep(0.2)

    def _is_ready(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=5) as said:
            return bool(said.status == 200)
        return False
