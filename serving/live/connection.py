"""A browser's connection: one that neither asks nor reads is closed, so that it keeps nobody else out."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE_S = 10.0
"""For a question to be whole, and for an answer to be read on."""

MOST_WAITING = 200
"""Connections without a whole question. Of more, the one that has waited longest goes: strangers oust each other."""

_SEND_BUFFER_BYTES = 65_536
"""Of the system: what a reader that has fallen asleep makes us keep."""


class Connection(H11Protocol):
    """As uvicorn has it, which waits for both without an end."""

    _timer: asyncio.TimerHandle | None = None
    _since_s = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._begin_to_wait()
        self._look()
        waiting = [each for each in self.connections if isinstance(each, Connection) and each.is_without_question]
        if len(waiting) > MOST_WAITING:
            min(waiting, key=lambda each: each._since_s).transport.abort()

    @property
    def is_without_question(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        self._begin_to_wait()
        super().on_response_complete()

    def pause_writing(self) -> None:
        self._begin_to_wait()
        super().pause_writing()

    def _begin_to_wait(self) -> None:
        self._since_s = self.loop.time()

    def _look(self) -> None:
        left_s = PATIENCE_S
        if self.is_without_question or self.flow.write_paused:
            left_s -= self.loop.time() - self._since_s
        if left_s <= 0:
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(left_s, self._look)


def limits() -> dict[str, Any]:
    """For uvicorn's Config."""
    return {
        "http": Connection,
        "ws": "none",
        "backlog": MOST_WAITING // 4,
        "limit_concurrency": 2 * MOST_WAITING,
        "h11_max_incomplete_event_size": 16_384,
    }
