"""The streams that browsers follow the board by: so many, and whoever comes next has one."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.live.board import Board

MOST_BROWSERS = 100
"""That have a stream. One more takes the place of the one that has had its stream longest, and that one comes back."""

_PING_S = 10


class Streams:
    """Who has a stream, in the order of coming.

    :param build: of the page's files.
    """

    def __init__(self, board: Board, build: str) -> None:
        self._board, self._build, self._readers = board, build, OrderedDict[object, None]()

    def __len__(self) -> int:
        return len(self._readers)

    def open(self) -> Response:
        """The answer that is a stream. Its place is taken now, before the answer begins."""
        reader = object()
        self._readers[reader] = None
        if len(self._readers) > MOST_BROWSERS:
            self._readers.popitem(last=False)
            self._board.wake()
        return _Stream(self, reader)

    def close(self, reader: object) -> None:
        self._readers.pop(reader, None)

    async def told(self, reader: object) -> AsyncIterator[dict[str, str]]:
        server = {"build": self._build, "now_ms": round(time.time() * 1000)}
        yield {"data": json.dumps({"server": server})}
        async for panels in self._board.follow(lambda: reader in self._readers):
            yield {"data": panels}


class _Stream(EventSourceResponse):
    def __init__(self, streams: Streams, reader: object) -> None:
        super().__init__(streams.told(reader), ping=_PING_S)
        self._streams, self._reader = streams, reader

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._streams.close(self._reader)
