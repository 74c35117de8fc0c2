"""The page's server: what a browser may ask for, and what it is told about that."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lakehouse.errors import ServiceError
from serving.live import questions
from serving.live.board import Board
from serving.live.browser_json import to_json
from serving.live.follow import QUESTION_S
from serving.server import connect_reader

PAGE = Path(__file__).with_name("page")
MOST_BROWSERS = 500

_PING_S = 10
_QUESTIONS_AT_ONCE = 3
_PRODUCT_ID = re.compile(r"-?[0-9]{1,19}")
_IDS = range(-(2**63), 2**63)

# Nothing from elsewhere, no script or style in the page's text, in nobody's frame.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types default"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def build_of(folder: Path) -> str:
    """A number for the page's files: a browser that has others loads them anew."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def make_app(dsn: str, board: Board, hosts: list[str]) -> ASGIApp:
    """The server's routes; all of them only read.

    :param dsn: of the store, for questions about one product.
    :param hosts: names by which browsers may call it, without ports: a page elsewhere whose name leads here is refused.
    """
    build, open_questions = build_of(PAGE), asyncio.Semaphore(_QUESTIONS_AT_ONCE)
    browsers = set[object]()

    async def page(_request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def events(_request: Request) -> Response:
        if len(browsers) >= MOST_BROWSERS:
            return JSONResponse({"error": f"{MOST_BROWSERS} browsers are connected already"}, 503)
        return EventSourceResponse(_told(), ping=_PING_S)

    async def _told() -> AsyncIterator[dict[str, str]]:
        me = object()
        browsers.add(me)
        try:
            server = {"build": build, "now_ms": round(time.time() * 1000)}
            yield {"data": json.dumps({"server": server})}
            async for panels in board.follow():
                yield {"data": panels}
        finally:
            browsers.discard(me)

    async def product(request: Request) -> Response:
        product_id = _product_id(request.path_params["product_id"])
        if product_id is None:
            return JSONResponse({"error": "no such product"}, 404)
        try:
            async with open_questions, await connect_reader(dsn, QUESTION_S) as store:
                found = await questions.product(store, product_id)
        except (psycopg.Error, ServiceError):
            return JSONResponse({"error": "the store does not answer"}, 503)
        return _json(found) if found else JSONResponse({"error": "no such product"}, 404)

    async def state(_request: Request) -> Response:
        """For whoever watches the server: is it fed?"""
        store, health = board.panel("store"), board.panel("health") or []
        is_well = bool(store and store["is_there"]) and not health
        return JSONResponse({"is_well": is_well, "store": store, "health": health, "browsers": len(browsers)})

    # Guarded from outside: the answer to what goes wrong in here is guarded too.
    app = Starlette(
        routes=[
            Route("/", page),
            Route("/events", events),
            Route("/products/{product_id}", product),
            Route("/state", state),
            Mount("/static", StaticFiles(directory=PAGE)),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)],
    )
    return _Guarded(app)


class _Guarded:
    """Puts the headers on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        await self._app(scope, receive, guarded)


def _product_id(text: str) -> int | None:
    """None: no product can have that for a number."""
    product_id = int(text) if _PRODUCT_ID.fullmatch(text) else None
    return product_id if product_id is not None and product_id in _IDS else None


def _json(value: Any) -> Response:
    return Response(to_json(value), media_type="application/json")
