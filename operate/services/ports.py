"""Ports on 127.0.0.1: chosen once, remembered, chosen again only when someone else has taken them."""

from __future__ import annotations

import json
import os
import random
import socket
from pathlib import Path

from lakehouse.errors import ServiceError

LOOPBACK = "127.0.0.1"
RANGE = range(20_000, 32_000)  # below the ports that systems hand to outgoing connections
SHARE = "STOREFRONT_PORTS"
"""Variable with the part of that range to choose from, as 20000-25999. A chosen port is free until a server listens
there: whoever starts several runs at a time gives each a part of its own.
"""


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        # As servers do: connections that are winding down after a restart do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(taken: set[int]) -> int:
    """A free port, none of `taken`.

    :raises ServiceError: there is none.
    """
    share = _share()
    for port in random.sample(share, 200):
        if port not in taken and is_free(port):
            return port
    raise ServiceError(f"No free port found between {share.start} and {share.stop} on {LOOPBACK}.")


def _share() -> range:
    first, _, last = os.environ.get(SHARE, "").partition("-")
    return range(int(first), int(last) + 1) if last else RANGE


def settle(memory: Path, wanted: dict[str, int]) -> tuple[dict[str, int], list[str]]:
    """Ports by name, and what the user should know about them.

    :param memory: JSON file that remembers them.
    :param wanted: port by name; 0 means the remembered one, or a free one.
    :raises ServiceError: a port that the user asked for is taken.
    """
    known: dict[str, int] = json.loads(memory.read_text(encoding="utf-8")) if memory.is_file() else {}
    ports: dict[str, int] = {}
    notes = []
    for name, asked in wanted.items():
        if asked and not is_free(asked):
            found = f"Port {asked} on {LOOPBACK}, asked for as {name}, is taken."
            raise ServiceError(found, "a free port, or 0 for any")
        others = set(ports.values()) | set(wanted.values())
        before = known.get(name, 0)
        remembered = before if before and before not in others and is_free(before) else 0
        ports[name] = asked or remembered or free_port(others)
        if before and ports[name] != before:
            notes.append(f"{name} is now {ports[name]}: {before} is {'not the one asked for' if asked else 'taken'}.")
    if ports != known:
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(ports) + "\n", encoding="utf-8")
    return ports, notes
