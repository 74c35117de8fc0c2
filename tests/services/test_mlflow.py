"""The embedded MLflow: it shows what was trained without it, to this machine alone."""

from __future__ import annotations

import http.client
import io
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from typing import Any

import pandas as pd
import psutil
import pytest

from lakehouse.settings import Settings
from ml.tracking.runs import Logged, Runs
from operate.live import with_token
from operate.services import process
from operate.services.mlflow import MlflowServer
from serving.live.access import token_of
from tests.services.sinks import wait_for


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _token(server: MlflowServer) -> dict[str, str]:
    return {"Authorization": f"Bearer {token_of(server.settings)}"}


def _asked(server: MlflowServer, path: str, body: bytes | None = None, **headers: str) -> Any:
    return urllib.request.urlopen(urllib.request.Request(server.url + path, body, headers | _token(server)))


@pytest.fixture
def shown(settings: Settings) -> Iterator[tuple[MlflowServer, str, int]]:
    """A server over one run, the run's id, and the server's process id."""
    runs = Runs(settings)
    with runs.run("lifetime-value", "silver 7") as run_id:
        kept = {"a": pd.DataFrame({"kept": [1]})}
        runs.log(Logged(params={"seed": 1}, tags={"silver_version": "7"}, metrics={"mae": 0.5}, tables=kept))
    server = MlflowServer(settings)
    assert server.prepare() == []
    started = process.spawn(server.command(), server.output, server.environment())
    try:
        wait_for(server.is_ready, "MLflow does not answer")
        yield server, run_id, started.pid
    finally:
        process.stop(started, 20)


def test_it_shows_runs_and_their_files_on_the_loopback_without_idle_helpers(
    shown: tuple[MlflowServer, str, int],
) -> None:
    server, run_id, pid = shown
    with _asked(server, f"/api/2.0/mlflow/runs/get?run_id={run_id}") as said:
        run = json.load(said)["run"]["data"]
    assert {each["key"]: each["value"] for each in run["metrics"]} == {"mae": 0.5}
    assert {"key": "silver_version", "value": "7"} in run["tags"]
    with _asked(server, f"/get-artifact?path=tables/a.csv&run_uuid={run_id}") as said:
        assert said.read() == b"kept\n1\n"
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    listening = {each.laddr.ip for one in family for each in one.net_connections() if each.status == "LISTEN"}
    assert listening == {"127.0.0.1"}
    assert len(family) <= 3
    # A page of somebody else's in the same browser cannot have it under another name.
    with pytest.raises(urllib.error.HTTPError, match="403"):
        _asked(server, "/", Host="evil.example")


def test_without_the_token_it_shows_nothing(shown: tuple[MlflowServer, str, int]) -> None:
    server, run_id, _ = shown
    for path in ("/", f"/api/2.0/mlflow/runs/get?run_id={run_id}", "/version", "/health/", "/static-files/index.html"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(server.url + path)
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    with browser.open(with_token(server.url, server.settings, Terminal())) as said:
        assert said.url == f"{server.url}/" and b"MLflow" in said.read()


def test_its_port_is_the_same_again(settings: Settings) -> None:
    first = MlflowServer(settings)
    assert first.url == ""
    first.prepare()
    assert MlflowServer(settings).url == first.url != ""


REACHED_BY_ANYBODY = [
    ("PUT", "/ajax-api/3.0/mlflow/assistant/config", {"providers": {}}),
    ("POST", "/ajax-api/3.0/mlflow/assistant/message", {"message": "hi"}),
    ("GET", "/ajax-api/3.0/mlflow/assistant/sessions/1/stream", None),
    ("GET", "//ajax-api/3.0/mlflow/assistant/config", None),
    ("GET", "/ajax-api/3.0/mlflow/runs/../assistant/config", None),
    ("GET", "/ajax-api/3.0/mlflow/runs/%2e%2e/assistant/config", None),
    ("GET", "/ajax-api/3.0/mlflow/runs%2f..%2fassistant%2fconfig", None),
    ("POST", "/ajax-api/2.0/mlflow/runs/delete", {"run_id": "RUN"}),
    ("POST", "/api/2.0/mlflow/runs/set-tag", {"run_id": "RUN", "key": "silver_version", "value": "8"}),
    ("POST", "/api/2.0/mlflow/registered-models/alias", {"name": "m", "alias": "champion", "version": "1"}),
    ("DELETE", "/api/2.0/mlflow/registered-models/alias", {"name": "m", "alias": "champion"}),
    ("POST", "/api/2.0/mlflow/webhooks", {"name": "w", "url": "http://127.0.0.1:9"}),
    ("GET", "/ajax-api/2.0/mlflow/gateway-proxy?gateway_path=x", None),
    ("POST", "/ajax-api/3.0/mlflow/gateway/secrets/create", {}),
    ("POST", "/v1/traces", {}),
    ("GET", "/docs", None),
    ("OPTIONS", "/ajax-api/2.0/mlflow/runs/search", None),
]


def test_whoever_reaches_its_port_can_read_and_nothing_else(shown: tuple[MlflowServer, str, int]) -> None:
    server, run_id, _ = shown
    for method, path, body in REACHED_BY_ANYBODY:
        port = int(server.url.rpartition(":")[2])
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=20)  # sends the path as it is
        content = None if body is None else json.dumps(body).replace("RUN", run_id)
        client.request(method, path, content, {"Content-Type": "application/json"} | _token(server))
        answer = client.getresponse()
        assert answer.status == 403, (method, path, answer.status, answer.read())
        client.close()
    wanted = json.dumps({"experiment_ids": ["1"]}).encode()
    with _asked(server, "/ajax-api/2.0/mlflow/runs/search", wanted, **{"Content-Type": "application/json"}) as said:
        (run,) = json.load(said)["runs"]
    assert run["info"]["lifecycle_stage"] == "active"
    assert {"key": "silver_version", "value": "7"} in run["data"]["tags"]
