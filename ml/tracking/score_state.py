"""What scoring says of itself: one small file, replaced after each round, for those who read it."""

from __future__ import annotations

import json
import logging
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lakehouse.settings import Settings

NO_CHAMPION, IN_FORCE, FAILED, AWAY = "no champion", "in force", "failed", "registry away"
"""Of a model. AWAY: what is loaded scores on."""

log = logging.getLogger("lakehouse")


def state_file(settings: Settings) -> Path:
    return settings.home / "run" / "scores.json"


def read_scores(settings: Settings) -> dict[str, Any]:
    """`pid`, `written_at_s`, and `models`: name -> what was said last of it; empty when it has not run yet."""
    try:
        return dict(json.loads(state_file(settings).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}


def said(model: dict[str, Any]) -> str:
    """The state of a model as a line."""
    parts = [model["state"]]
    if model.get("version"):
        parts[0] += f": version {model['version']}"
    if model.get("scored_at"):
        parts.append(f"{model['scored']:,} scored at silver {model['silver_version']}, {model['scored_at']}")
    return ", ".join([*parts, *filter(None, [model.get("reason")])])


class ScoreState:
    """What changes is said once in the log."""

    def __init__(self, settings: Settings) -> None:
        self._path = state_file(settings)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._models: dict[str, dict[str, Any]] = {}

    def tell(self, model: str, state: str, version: int | None = None, reason: str = "") -> None:
        """:param version: the one in force, or that has failed. :param reason: why, where the state is a bad one."""
        known = self._models.setdefault(model, {})
        now = {"state": state, "version": version, "reason": reason}
        if now != {name: known.get(name) for name in now}:
            log.log(logging.INFO if state in (IN_FORCE, NO_CHAMPION) else logging.WARNING, "%s: %s", model, said(now))
            known |= now
            self.write()

    def scored(self, model: str, rows: int, silver_version: int) -> None:
        """So many rows were written now, by what is told of that version of silver.events."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._models[model] |= {"scored": rows, "silver_version": silver_version, "scored_at": now}

    def write(self) -> None:
        state = {"pid": os.getpid(), "written_at_s": time.time(), "models": self._models}
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps(state), encoding="utf-8")
        temporary.replace(self._path)
