"""What the page is told by NOTIFY, which any role may do: the sink says what is new, others that something may be."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from lakehouse.tables import GOLD_PRODUCT_SALES
from serving.live.questions import Store
from serving.notice import EVERYTHING, Notice, read_notice, together

_MOST_SENDERS = 50
_SINKS = """
    SELECT pid FROM pg_stat_activity
    WHERE pid = ANY(%s) AND usesysid = (SELECT relowner FROM pg_class WHERE oid = %s::regclass)"""
"""The sink owns the tables that it fills. Who has gone by now is nobody."""


class Inbox:
    """Notices that have come and were not taken yet, as one for each sender: however many come, they are few.

    :param store: to ask who the senders are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._sinks: set[int] = set()
        self._told: dict[int, Notice] = {}
        self._came = asyncio.Event()

    async def fill(self, listener: Store) -> None:
        """Until the listener's connection ends."""
        try:
            async for each in listener.notifies():
                sender = each.pid if len(self._told) < _MOST_SENDERS or each.pid in self._told else 0
                self._told[sender] = together([self._told.get(sender, together([])), read_notice(each.payload)])
                self._came.set()
        finally:
            self._came.set()

    async def wait(self, timeout_s: float) -> Notice:
        """All that have come, as one; waits for the first so long. Time goes on without any news too."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._came.wait(), timeout_s)
        self._came.clear()
        told, self._told = self._told, {}
        if unknown := [pid for pid in told if pid not in self._sinks]:
            found = await self._store.execute(_SINKS, [unknown, GOLD_PRODUCT_SALES.name])
            self._sinks |= {pid for (pid,) in await found.fetchall()}
        return together(notice if pid in self._sinks else EVERYTHING for pid, notice in told.items())
