"""`lakehouse connect`: connectors of Kafka Connect, made to be as their files say, and how they are."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from lakehouse.command import AsJson, Flag
from lakehouse.errors import InputError, ServiceError
from lakehouse.settings import Settings
from operate.connect_rest import ConnectRest
from operate.connector_file import Connector, read_connector, shipped
from operate.show import print_rows

_BEGIN_S, _LOOK_S = 90.0, 0.2
_RUNNING, _FAILED, _STOPPED = "RUNNING", "FAILED", "STOPPED"
_AT_REST = {_FAILED, _STOPPED, "PAUSED"}
"""Where a connector or task stays by itself."""


AtConnect = Annotated[Settings, Flag("connect_url", "--url", "of Connect's REST interface (LAKEHOUSE_CONNECT_URL)")]


def apply(
    settings: AtConnect,
    console: Console,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="JSON (all of deploy/connect)")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON, a line per connector")] = False,
) -> int:
    """Again, it changes nothing. All are checked by the worker before the first is changed. Exit code 0 when all run.

    :raises InputError: a file or a config is wrong; names each key.
    :raises ServiceError: Connect is not there, refuses, or what it was given does not run.
    """
    connectors = [read_connector(path, settings) for path in files or shipped()]
    rest = ConnectRest(settings)
    for connector in connectors:
        _check(connector, rest)
    for connector in connectors:
        done = _apply_one(connector, rest)
        if as_json:
            print(json.dumps({"connector": connector.name, "done": done}), flush=True)
            continue
        console.print(f"{connector.name}: {done}", highlight=False, soft_wrap=True)
    return 0


def status(settings: AtConnect, console: Console, as_json: AsJson = False) -> int:
    """A line for each: state and worker; for what has failed, its error. Exit code 1 when one has."""
    rows = [row for each in ConnectRest(settings).statuses() for row in _rows(each)]
    shown = rows if as_json else [{name: value for name, value in row.items() if name != "error"} for row in rows]
    print_rows(shown, as_json, console, ["connector", "task", "state", "worker"])
    failed = [row for row in rows if row["state"] == _FAILED]
    for row in [] if as_json else failed:
        console.print(f"{row['connector']}: {_what(row)} failed: {row['error']}", highlight=False, soft_wrap=True)
    return 1 if failed else 0


def _check(connector: Connector, rest: ConnectRest) -> None:
    class_, known = connector.config["connector.class"], rest.plugins()
    if class_ not in known:
        raise InputError(
            f"{connector.name}: the worker has no connector.class {class_}.",
            f"one of {', '.join(known)}",
            "put the plugin into the worker's plugin.path and start it again",
        )
    problems = rest.problems(connector.config)
    if problems:
        lines = "".join(f"\n    {line}" for line in problems)
        raise InputError(f"{connector.name}: Connect finds {len(problems)} errors in its config:{lines}")


def _apply_one(connector: Connector, rest: ConnectRest) -> str:
    """Out: what was done. A connector that is there is stopped for a change, so that no task of before is taken for one
    that runs with the new config; and where it is at rest, so that it runs.
    """
    name, before = connector.name, rest.config(connector.name)
    if before is None:
        rest.configure(name, connector.config)
        _wait_until_running(name, rest)
        return "created, running"
    keys = sorted(
        key for key in before.keys() | connector.config.keys() if before.get(key) != connector.config.get(key)
    )
    if not keys and not {row["state"] for row in _rows(rest.status(name))} & _AT_REST:
        _wait_until_running(name, rest)
        return "unchanged, running"
    rest.stop(name)
    _wait(name, rest, lambda rows: [row["state"] for row in rows] == [_STOPPED])
    if keys:
        rest.configure(name, connector.config)
    rest.resume(name)
    _wait_until_running(name, rest)
    return f"changed ({', '.join(keys)}), running" if keys else "unchanged, started again, running"


def _wait_until_running(name: str, rest: ConnectRest) -> None:
    """Connector and tasks, of which there is one at least."""

    def is_running(rows: list[dict[str, Any]]) -> bool:
        failed = [row for row in rows if row["state"] == _FAILED]
        if failed:
            raise ServiceError(
                f"{name}: {_what(failed[0])} failed: {failed[0]['error']}",
                "",
                "correct its config or what it needs, then apply it again; the worker's log says more",
            )
        return len(rows) > 1 and all(row["state"] == _RUNNING for row in rows)

    _wait(name, rest, is_running)


def _wait(name: str, rest: ConnectRest, is_so: Callable[[list[dict[str, Any]]], bool]) -> None:
    end_s = time.monotonic() + _BEGIN_S
    while not is_so(rows := _rows(rest.status(name))):
        if time.monotonic() > end_s:
            states = ", ".join(f"{_what(row)} is {row['state']}" for row in rows) or "no worker has it"
            raise ServiceError(f"{name}: after {_BEGIN_S:.0f} s {states}.", "", "look into the worker's log")
        time.sleep(_LOOK_S)


def _what(row: dict[str, Any]) -> str:
    return "the connector" if row["task"] is None else f"task {row['task']}"


def _rows(status: dict[str, Any] | None) -> list[dict[str, Any]]:
    """A connector and its tasks, as what `status` shows; none for a connector that no worker has begun."""
    if status is None:
        return []
    parts = [(None, status["connector"]), *((task["id"], task) for task in status["tasks"])]
    return [
        {
            "connector": status["name"],
            "task": task,
            "state": part["state"],
            "worker": part["worker_id"],
            "error": part.get("trace", "").partition("\n")[0],
        }
        for task, part in parts
    ]
