"""The live page among the programs of a home folder: its port, its role, its address."""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from pydantic import SecretStr

from lakehouse.errors import ServiceError
from lakehouse.settings import Settings
from operate.services import ports
from operate.services.postgres import PostgresServer
from operate.store_access import known_store
from serving.live.__main__ import reader_dsn, serve
from serving.live.access import TOKEN, token_file, token_of

Say = Callable[[str], None]

_ANSWER_S = 2.0
_EVERYWHERE = ("0.0.0.0", "::")


def page_settings(settings: Settings) -> tuple[Settings, list[str]]:
    """Settings that name the page's port and how it reads the store; and what the user should know.

    :raises ServiceError: the asked port is taken.
    :raises SettingError: there is no role for it to read with.
    """
    chosen, notes = ports.settle(_memory(settings), {"live_port": settings.live_port})
    found = settings.model_copy(update={"live_port": chosen["live_port"], "live_dsn": _reader(settings)})
    reader_dsn(found)
    return found, notes


def page_url(settings: Settings) -> str:
    """Where the page is or was, as a browser on this machine calls it; empty if it has never been started here."""
    with suppress(FileNotFoundError, ValueError, KeyError):
        port = settings.live_port or json.loads(_memory(settings).read_text(encoding="utf-8"))["live_port"]
        host = ports.LOOPBACK if settings.live_host in _EVERYWHERE else settings.live_host
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return ""


def page_address(settings: Settings, shown_on: TextIO) -> str:
    """The page's address as its owner needs it."""
    return with_token(page_url(settings), settings, shown_on)


def with_token(url: str, settings: Settings, shown_on: TextIO) -> str:
    """An address of ours: with the token on a terminal, and with where that is elsewhere, which may be a log."""
    if shown_on.isatty():
        return f"{url}/?{TOKEN}={token_of(settings)}"
    is_given = bool(settings.live_token.get_secret_value())
    place = "LAKEHOUSE_LIVE_TOKEN" if is_given else token_file(settings)
    return f"{url}/?{TOKEN}=... (the token is in {place})"


def page_state(settings: Settings) -> dict[str, Any]:
    """What the page's server says of itself; empty when it does not answer."""
    with suppress(OSError, ValueError):
        if url := page_url(settings):
            asked = urllib.request.Request(f"{url}/state")
            asked.add_unredirected_header("Authorization", f"Bearer {token_of(settings)}")
            with urllib.request.urlopen(asked, timeout=_ANSWER_S) as said:
                return dict(json.load(said))
    return {}


def is_answering(settings: Settings) -> bool:
    """Is the page served?"""
    return "is_well" in page_state(settings)


def live(settings: Settings, say: Say) -> int:
    """Until told to stop."""
    settings = known_store(settings)
    if is_answering(settings):
        say(f"the page is served already: {page_address(settings, sys.stderr)}")
        return 0
    found, notes = page_settings(settings)
    for note in notes:
        say(note)
    say(f"live page: {page_address(found, sys.stderr)}  Ctrl-C stops it")
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(found))
    return 0


def _memory(settings: Settings) -> Path:
    return settings.home / "live" / "ports.json"


def _reader(settings: Settings) -> SecretStr:
    """What is given; of the embedded server the page's role, whose password stays in a file."""
    server, given = PostgresServer(settings), settings.postgres_dsn.get_secret_value()
    if not settings.live_dsn.get_secret_value():
        with suppress(ServiceError):
            if not given or given == server.dsn:
                return SecretStr(server.page_dsn)
    return settings.live_dsn
