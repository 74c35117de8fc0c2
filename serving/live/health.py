"""How well the page's figures are fed: by what the programs of this machine say of themselves."""

from __future__ import annotations

from typing import Any

import psutil

from lakehouse.pulse import is_running, read_pulse
from lakehouse.settings import Settings
from serving.state import read_state, silent_s


def health(settings: Settings, now_s: float) -> list[dict[str, str]]:
    """What is wrong between Kafka and the store, in the order of the flow; empty if nothing is. Of programs that have
    never run with this home folder, as they may run elsewhere, nothing is said.
    """
    return [
        {"part": part, "says": says}
        for part, says in (
            ("pipeline", _pipeline(read_pulse(settings))),
            ("sink", _sink(read_state(settings), now_s)),
        )
        if says
    ]


def _pipeline(pulse: dict[str, Any]) -> str:
    if not pulse or is_running(pulse):
        return ""
    return "is starting" if psutil.pid_exists(pulse["pid"]) else "is not running"


def _sink(state: dict[str, Any], now_s: float) -> str:
    if not state:
        return ""
    if not psutil.pid_exists(state["pid"]):
        return "is not running"
    if since_s := silent_s(state, now_s):
        return f"has been silent for {since_s:.0f} s"
    return "" if state["state"] == "serving" else f"is {state['state']}"
