"""docker-compose.yml as data: its variables, and what a service runs with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docker-compose.yml"

VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)([^}]*)\}")
"""A variable: its name, and what follows it within the braces."""


def load(text: str | None = None) -> dict[str, Any]:
    """The file, its variables as they are written."""
    return dict(yaml.safe_load(FILE.read_text(encoding="utf-8") if text is None else text))


def texts(value: Any) -> Iterator[str]:
    """All text in it, but for the names of keys."""
    if isinstance(value, Mapping):
        value = list(value.values())
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, Mapping | list):
            yield from texts(each)
        elif each is not None:
            yield str(each)


@dataclass(frozen=True)
class Service:
    """:param command: empty where it is the image's own.
    :param check: the command line that says whether it is well; empty where there is none.
    :param folders: source by target: a path below `.`, or the name of a volume; without those that have no name.
    """

    name: str
    image: str
    command: list[str]
    environment: dict[str, str]
    check: list[str]
    folders: dict[str, str]


def service(name: str, values: Mapping[str, str], compose: Mapping[str, Any] | None = None) -> Service:
    """A service with the variables filled in.

    :raises KeyError: a variable has no value.
    """
    found = (compose or load())["services"][name]

    def filled(text: object) -> str:
        return VARIABLE.sub(lambda variable: values[variable[1]], str(text)).replace("$$", "$")

    test = [filled(word) for word in found.get("healthcheck", {}).get("test", [])]
    mounts = [str(volume).split(":") for volume in found.get("volumes", [])]
    return Service(
        name,
        found["image"],
        [filled(word) for word in found.get("command", [])],
        {key: filled(value) for key, value in found.get("environment", {}).items()},
        test[1:],
        {mount[1]: mount[0] for mount in mounts if mount[1:]},
    )


def values_of(env_file: str) -> dict[str, str]:
    """The text of a file as `lakehouse init-env` writes it -> its variables."""
    return dict(line.split("=", 1) for line in env_file.splitlines() if line and not line.startswith("#"))
