"""What the running pipeline says of itself: for those who read it.

One small file, replaced after each micro-batch by the pipeline itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil

from lakehouse.settings import Settings


def pulse_file(settings: Settings) -> Path:
    return settings.home / "run" / "pipeline.json"


def read_pulse(settings: Settings) -> dict[str, Any]:
    """The newest pulse; empty when the pipeline has not run yet."""
    try:
        return dict(json.loads(pulse_file(settings).read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}


def is_running(pulse: dict[str, Any]) -> bool:
    """Does the process that wrote it live, and has it caught up?"""
    return bool(pulse.get("running")) and psutil.pid_exists(pulse["pid"])
