"""The live page's server in this process, as it limits and asks who is there; and plain requests to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvicorn

from operate.services.ports import free_port
from serving.live.board import Board
from serving.live.connection import limits
from serving.live.web import make_app

TOKEN = "a-token-that-nobody-guesses"
BEARER = f"Authorization: Bearer {TOKEN}\r\n"
Reader, Writer = asyncio.StreamReader, asyncio.StreamWriter


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Site:
    """:param open: connections of ours that are to be closed at the end."""

    board: Board
    port: int
    server: uvicorn.Server
    open: list[Writer] = field(default_factory=list)

    async def connect(self) -> tuple[Reader, Writer]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.open.append(writer)
        return reader, writer

    async def begin(self, path: str, headers: str = BEARER, method: str = "GET") -> Reader:
        """Sends a request. Out: where the answer comes; nobody reads it yet."""
        reader, writer = await self.connect()
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n".encode())
        await writer.drain()
        return reader

    async def ask(self, path: str, headers: str = BEARER, method: str = "GET") -> Answer:
        """The whole answer; of a stream its first piece."""
        reader = await self.begin(path, headers, method)
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        status, length = int(head[0].split()[1]), int(fields.get("content-length", 0))
        if method == "HEAD":
            return Answer(status, fields, b"")
        is_stream = fields.get("content-type", "").startswith("text/event-stream")
        return Answer(status, fields, await (reader.read(100) if is_stream else reader.readexactly(length)))


@asynccontextmanager
async def served(dsn: str = "") -> AsyncIterator[Site]:
    """Until the block ends. :param dsn: of the store, which nothing here needs but questions about a product."""
    board = Board()
    app = make_app(dsn, board, ["127.0.0.1"], TOKEN)
    port = free_port(set())
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None, **limits()))
    running = asyncio.create_task(server.serve())
    while not server.started:
        assert not running.done()
        await asyncio.sleep(0.01)
    site = Site(board, port, server)
    try:
        yield site
    finally:
        for writer in site.open:
            writer.transport.abort()
        server.should_exit = server.force_exit = True
        await running
