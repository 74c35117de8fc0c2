"""Health checks of docker-compose.yml. Exit code 0: it is well; else 1, with the reason in a line.

`python -m operate.healthy answers URL`              the address is answered
`python -m operate.healthy application NAME MASTER`  Spark runs it; MASTER is the address of the master's page
`python -m operate.healthy scoring MASTER`           likewise, or there is no champion yet to score with
`python -m operate.healthy sink`                     the sink of this home folder serves
`python -m operate.healthy hdfs NAMENODE`            files can be written; NAMENODE is the address of its page
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import urllib.request
from typing import Any

from lakehouse.errors import LakehouseError, ServiceError
from lakehouse.surroundings import ask_directly
from lakehouse.visible import print_visible

_ANSWER_S = 5.0


def answers(url: str) -> None:
    """:raises ServiceError: the address is not answered, or not with 200."""
    _ask(url)


def application(name: str, master: str) -> None:
    """:raises ServiceError: the application is not there, or has no executor."""
    active = json.loads(_ask(f"{master}/json/"))["activeapps"]
    states = [app["state"] for app in active if app["name"] == name]
    if "RUNNING" not in states:
        raise ServiceError(f"Spark has {name} as {', '.join(states) or 'nothing'}.", "RUNNING")


def scoring(master: str) -> None:
    """:raises ServiceError: as `application`, but where no model has a champion."""
    from lakehouse.settings import load_settings
    from ml.tracking.score_state import NO_CHAMPION, read_scores

    models = read_scores(load_settings()).get("models", {})
    if not models or any(model["state"] != NO_CHAMPION for model in models.values()):
        application("storefront scores", master)


def sink() -> None:
    """:raises ServiceError: it waits for PostgreSQL or Kafka, or says nothing."""
    from lakehouse.settings import load_settings
    from serving.state import read_state, silent_s

    state: dict[str, Any] = read_state(load_settings())
    if state.get("state") != "serving" or silent_s(state, time.time()):
        raise ServiceError(f"The sink is {state.get('state', 'not there')}: {state.get('reason', '')}", "serving")


def hdfs(namenode: str) -> int:
    """Out: its DataNodes. :raises ServiceError: the NameNode is in safe mode, or has no DataNode."""
    beans = {bean["name"].rpartition("=")[2]: bean for bean in json.loads(_ask(f"{namenode}/jmx"))["beans"]}
    if not {"NameNodeInfo", "FSNamesystemState"} <= set(beans):
        raise ServiceError("The NameNode has only begun to start.", "its state")
    safe_mode, nodes = beans["NameNodeInfo"]["Safemode"], beans["FSNamesystemState"]["NumLiveDataNodes"]
    if safe_mode or not nodes:
        raise ServiceError(f"HDFS has {nodes} DataNodes. {safe_mode}", "a DataNode, and no safe mode")
    return int(nodes)


def _ask(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_S) as said:
            return bytes(said.read())
    except OSError as error:
        raise ServiceError(f"{url}: {error}", "an answer") from None


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m operate.healthy")
    checks = parser.add_subparsers(required=True, metavar="CHECK")
    for check, words in (
        (answers, ["url"]),
        (application, ["name", "master"]),
        (scoring, ["master"]),
        (sink, []),
        (hdfs, ["namenode"]),
    ):
        each = checks.add_parser(check.__name__)
        each.set_defaults(check=check)
        for word in words:
            each.add_argument(word)
    given = vars(parser.parse_args())
    ask_directly(os.environ)
    check = given.pop("check")
    try:
        check(**given)
    except LakehouseError as error:
        print_visible(error, to_stderr=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
