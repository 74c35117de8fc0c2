"""What a running sink says of itself: one small file, replaced about once a second."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from pathlib import Path
from typing import Any

from lakehouse.percentiles import percentiles
from lakehouse.settings import Settings
from serving.merge import Incoming

_KEPT = 10_000
_EVERY_S, _SILENT_S = 1.0, 30.0


def state_file(settings: Settings, name: str = "1") -> Path:
    return settings.home / "run" / f"sink-{name}.json"


def read_state(settings: Settings, name: str = "1") -> dict[str, Any]:
    """What an instance said last; empty when it has not run yet."""
    try:
        return dict(json.loads(state_file(settings, name).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}


def silent_s(state: dict[str, Any], now_s: float) -> float:
    """For how long a running sink has said nothing, if that is too long; else 0. It says something every second, or
    every few while it waits.
    """
    passed_s = now_s - state["written_at_s"]
    return passed_s if passed_s > _SILENT_S else 0.0


class State:
    """:param name: of the instance."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._path = state_file(settings, name)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._waits_s: deque[float] = deque(maxlen=_KEPT)
        self._written_s, self._began_s = 0.0, time.time()
        self._state: dict[str, Any] = {"pid": os.getpid(), "state": "starting", "records": 0}
        self._write()

    def served(self, records: list[Incoming], now_s: float) -> None:
        """These are stored now. Their ages are those of the payments that they show for the first time; of those from
        before this start, it would be how long nobody served.
        """
        self._state["records"] += len(records)
        paid_at_s = (record.paid_at_us / 1e6 for record in records if record.paid_at_us is not None)
        self._waits_s.extend(now_s - at_s for at_s in paid_at_s if at_s >= self._began_s)

    def serving(self, lag: int | None) -> None:
        self._state |= {"lag": lag}
        if self._state["state"] != "serving":
            self._change("serving")
        elif time.monotonic() - self._written_s > _EVERY_S:
            self._write()

    def waiting(self, who: str, reason: str) -> None:
        self._change(f"waiting for {who}", reason)

    def stopped(self) -> None:
        self._change("stopped")

    def _change(self, state: str, reason: str = "") -> None:
        if self._state["state"] != state:
            self._state["since_s"] = time.time()
        self._state |= {"state": state, "reason": reason}
        self._write()

    def _write(self) -> None:
        self._state["payment_to_row"] = percentiles(self._waits_s, "s") if self._waits_s else {}
        self._state["written_at_s"], self._written_s = time.time(), time.monotonic()
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self._state), encoding="utf-8")
        temporary.replace(self._path)
