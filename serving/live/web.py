"""The page's server: what a browser may ask for, and what it is told about that."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import traceback
from pathlib import Path

import psycopg
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lakehouse.errors import ServiceError
from serving.live import questions
from serving.live.access import ALIVE, Access
from serving.live.board import Board
from serving.live.browser_json import to_json
from serving.live.follow import QUESTION_S
from serving.live.streams import Streams
from serving.server import connect_reader, without_values

log = logging.getLogger("lakehouse")

PAGE = Path(__file__).with_name("page")
_QUESTIONS_AT_ONCE, _QUESTIONS_WAITING = 3, 20
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


class Questions:
    """About one product, of the store: few at once, and few that wait."""

    def __init__(self, dsn: str) -> None:
        self._dsn, self._turn, self._asked = dsn, asyncio.Semaphore(_QUESTIONS_AT_ONCE), 0

    async def product(self, product_id: int) -> Response:
        if self._asked >= _QUESTIONS_AT_ONCE + _QUESTIONS_WAITING:
            return JSONResponse({"error": "too many ask at once"}, 503, {"Retry-After": "5"})
        self._asked += 1
        try:
            async with self._turn, await connect_reader(self._dsn, QUESTION_S) as store:
                found = await questions.product(store, product_id)
        except (psycopg.Error, ServiceError):
            return JSONResponse({"error": "the store does not answer"}, 503)
        finally:
            self._asked -= 1
        return Response(to_json(found), media_type="application/json") if found else _no_such_product()


def make_app(dsn: str, board: Board, hosts: list[str], token: str) -> ASGIApp:
    """The server's routes; all of them only read.

    :param dsn: of the store, for questions about one product.
    :param hosts: names by which browsers may call it, without ports: a page elsewhere whose name leads here is refused.
    :param token: of who may see it.
    """
    streams, asked = Streams(board, build_of(PAGE)), Questions(dsn)

    async def page(_request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def events(_request: Request) -> Response:
        return streams.open()

    async def product(request: Request) -> Response:
        product_id = _product_id(request.path_params["product_id"])
        return _no_such_product() if product_id is None else await asked.product(product_id)

    async def state(_request: Request) -> Response:
        """For whoever watches the server: is it fed?"""
        store, health = board.panel("store"), board.panel("health") or []
        is_well = bool(store and store["is_there"]) and not health
        return JSONResponse({"is_well": is_well, "store": store, "health": health, "browsers": len(streams)})

    async def alive(_request: Request) -> Response:
        return PlainTextResponse("alive\n")

    # Guarded from outside: the answer to what goes wrong in here is guarded too.
    app = Starlette(
        routes=[
            Route("/", page),
            Route("/events", events),
            Route("/products/{product_id}", product),
            Route("/state", state),
            Route(ALIVE, alive),
            Mount("/static", StaticFiles(directory=PAGE)),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
            Middleware(Access, token=token),
        ],
    )
    return _Guarded(app)


class _Guarded:
    """Puts the headers on every answer, and says of what goes wrong where, and no values."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        try:
            await self._app(scope, receive, guarded)
        except Exception as error:  # it has been answered with 500
            place = traceback.extract_tb(error.__traceback__)[-1]
            name = Path(place.filename).name
            log.error("live: an answer failed: %s, %s:%s", without_values(error), name, place.lineno)


def _product_id(text: str) -> int | None:
    """None: no product can have that for a number."""
    product_id = int(text) if _PRODUCT_ID.fullmatch(text) else None
    return product_id if product_id is not None and product_id in _IDS else None


def _no_such_product() -> Response:
    return JSONResponse({"error": "no such product"}, 404)
