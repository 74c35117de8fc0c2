"""What a result needs to be understood later: when, on which machine, with which versions."""

from __future__ import annotations

import json
import platform
import re
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

_PACKAGES = ("pyspark", "delta-spark", "confluent-kafka")
_IVY = Path(__file__).resolve().parents[1] / "operate" / "ivy.xml"


def recorded(result: dict[str, Any], at: datetime) -> dict[str, Any]:
    """The result with its circumstances. :param at: when it was measured, with a time zone."""
    return {"measured_at": at.isoformat(timespec="seconds"), "machine": machine(), "versions": versions(), **result}


def keep(result: dict[str, Any], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    return {
        "cpu": _cpu_name(),
        "cores": psutil.cpu_count(),
        "memory_mb": psutil.virtual_memory().total >> 20,
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}
    kafka = re.search(r'name="kafka_[\d.]+" rev="([^"]+)"', _IVY.read_text(encoding="utf-8"))
    return found | ({"kafka": kafka[1]} if kafka else {})


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
