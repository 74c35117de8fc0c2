"""Reads rows from the serving store as its readers do: told of a change by NOTIFY, then asking for what is new."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Protocol

import psycopg
from psycopg import sql

from lakehouse.tables import GOLD_PRODUCT_SALES, Table
from serving.notice import CHANNEL
from serving.store import identifier

# Rows of one revision come from several partitions, and so in several transactions.
_OVERLAP_S, _LOOK_EVERY_S = 5.0, 1.0


class Watcher(Protocol):
    """Is told of rows as JSON, each with the time at which it was seen."""

    def shown(self, value: bytes, at_s: float) -> None: ...


class StoreReader:
    """Tells `watcher` of each new row of a table, perhaps more than once."""

    def __init__(self, dsn: str, watcher: Watcher, table: Table = GOLD_PRODUCT_SALES) -> None:
        self._dsn, self._watcher = dsn, watcher
        self._query = sql.SQL("SELECT revision, row::text FROM {} WHERE revision > %s").format(identifier(table))
        self._connection: psycopg.Connection[Any] | None = None
        self._seen: deque[tuple[float, int]] = deque()
        self._since, self._asked_s = 0, 0.0

    def read(self) -> None:
        """Takes in what has come, without waiting. While the server is away, nothing has."""
        try:
            connection = self._connected()
            told = any(True for _ in connection.notifies(timeout=0))
            if told or time.monotonic() - self._asked_s > _LOOK_EVERY_S:
                self._ask(connection)
        except psycopg.OperationalError:
            self.close()

    def _ask(self, connection: psycopg.Connection[Any]) -> None:
        self._asked_s = time.monotonic()
        while self._seen and self._asked_s - self._seen[0][0] > _OVERLAP_S:
            self._since = self._seen.popleft()[1]
        found = connection.execute(self._query, [self._since]).fetchall()
        now_s = time.time()
        for _, row in found:
            self._watcher.shown(row.encode(), now_s)
        if found:
            self._seen.append((self._asked_s, max(revision for revision, _ in found)))

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._dsn, autocommit=True, connect_timeout=2)
            self._connection.execute(f"LISTEN {CHANNEL}")
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
