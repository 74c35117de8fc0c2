"""Connectors as files: JSON with a name and a config, in which `${setting}` stands for a setting of ours."""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr

from lakehouse.errors import InputError
from lakehouse.settings import PREFIX, Settings

SHIPPED = Path(__file__).resolve().parents[1] / "deploy" / "connect"
# What has a colon, such as ${env:NAME}, is looked up by the worker: there it may be a secret, here it must not.
_PLACEHOLDER = re.compile(r"\$\{([^}:]*)\}")


class Connector(NamedTuple):
    name: str
    config: dict[str, str]


def shipped() -> list[Path]:
    """The files of the connectors that the lakehouse has."""
    return sorted(SHIPPED.glob("*.json"))


def read_connector(path: Path, settings: Settings) -> Connector:
    """:raises InputError: no such file, not a connector, or a placeholder that is no setting or a secret one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}.", "a connector as JSON", "correct the path or the file") from None
    wanted = 'as in {"name": "...", "config": {"connector.class": "...", ...}}, all values text'
    if not isinstance(content, dict) or content.keys() != {"name", "config"} or not isinstance(content["config"], dict):
        raise InputError(f"{path} is no connector.", wanted)
    name, config = content["name"], content["config"]
    not_text = [key for key, value in {"name": name, **config}.items() if not isinstance(value, str)]
    if not_text or not config.get("connector.class"):
        raise InputError(f"{path}: {not_text[0] if not_text else 'connector.class'} is no text.", wanted)
    if config.get("name", name) != name:
        raise InputError(f"{path} has two names, {name} and {config['name']}.", wanted)
    return Connector(name, {"name": name} | {key: _filled(value, path, settings) for key, value in config.items()})


def _filled(text: str, path: Path, settings: Settings) -> str:
    def value(found: re.Match[str]) -> str:
        known = settings.model_dump()
        name = found[1]
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise InputError(f"{path}: {found[0]} is no setting.", f"one in lower case; the nearest is {nearest}")
        if isinstance(known[name], SecretStr):
            raise InputError(
                f"{path}: {found[0]} is a secret, which anybody who may read connectors would see.",
                f"a name that the worker looks up, such as ${{env:{PREFIX}{name.upper()}}}",
            )
        return str(known[name])

    return _PLACEHOLDER.sub(value, text)
