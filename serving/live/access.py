"""Who may see our pages: whoever has the token, as in the addresses that the owner's commands print."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from pathlib import Path

from starlette.datastructures import URL
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from lakehouse.secret_file import secret_in
from lakehouse.settings import Settings

ALIVE = "/alive"
"""Answered to everybody: that the server runs, and nothing else."""

TOKEN = "t"
"""The token's name in an address."""

_COOKIE_S = 30 * 86_400
_ASKS = """<!doctype html><html lang="en"><title>Live page</title>
<p>This page is for those who have its address. On the machine that runs the lakehouse, <code>lakehouse status</code>
prints it. <a href="/">Try again</a></p></html>"""


def token_file(settings: Settings) -> Path:
    return settings.home / "live" / "token"


def token_of(settings: Settings) -> str:
    """The token that is given; else that of the home folder, which is made once, for its owner alone."""
    if given := settings.live_token.get_secret_value():
        return given
    path = token_file(settings)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.path.lexists(path) and not _is_of_owner_alone(path):
        path.unlink()
    return secret_in(path)


class Access:
    """Lets through who shows the token: in the address, which becomes a cookie at once, as that cookie, or as
    `Authorization: Bearer`.

    :param alive: the path that is answered to everybody.
    """

    def __init__(self, app: ASGIApp, token: str, alive: str = ALIVE) -> None:
        self._app, self._token, self._alive = app, token.encode(), alive
        # Browsers give a host's cookies to all of its ports: each page has a cookie of its own.
        self._cookie = f"storefront_live_{hashlib.sha256(self._token).hexdigest()[:8]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope.get("path") == self._alive:
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        shown = request.query_params.get(TOKEN) if request.url.path == "/" else None
        if shown is not None and self._is_right(shown):
            await self._welcome(request.url)(scope, receive, send)
        elif self._is_right(request.cookies.get(self._cookie, "")) or self._is_right(_bearer(request)):
            await self._app(scope, receive, send)
        else:
            await _refusal(request.url.path)(scope, receive, send)

    def _is_right(self, shown: str) -> bool:
        return secrets.compare_digest(shown.encode("utf-8", "replace"), self._token)

    def _welcome(self, url: URL) -> Response:
        """On to the address without the token: that one may be shown, and is kept by the browser."""
        response = RedirectResponse("/", 303)
        response.set_cookie(
            self._cookie,
            self._token.decode(),
            max_age=_COOKIE_S,
            secure=url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return response


def _bearer(request: Request) -> str:
    kind, _, shown = request.headers.get("authorization", "").partition(" ")
    return shown if kind.lower() == "bearer" else ""


def _refusal(path: str) -> Response:
    headers = {"WWW-Authenticate": "Bearer"}
    if path == "/":
        return HTMLResponse(_ASKS, 401, headers)
    return JSONResponse({"error": "the address that `lakehouse status` prints has the token"}, 401, headers)


def _is_of_owner_alone(path: Path) -> bool:
    found = path.lstat()
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
