"""Keeps the board up with the store: told of changes by NOTIFY, it asks once for what all browsers show."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg

from lakehouse.percentiles import percentile
from lakehouse.settings import Settings
from lakehouse.tables import (
    GOLD_ABANDONED_CARTS,
    GOLD_CUSTOMER_VALUE,
    GOLD_FUNNEL,
    GOLD_PRODUCTS,
)
from serving.live import questions
from serving.live.board import Board
from serving.live.health import health
from serving.live.inbox import Inbox
from serving.live.questions import Clock, Store
from serving.live.sums import SPANS, TODAY, Sold, Sum, Sums
from serving.notice import CHANNEL, Notice
from serving.server import connect_reader, without_values

log = logging.getLogger("lakehouse")

TOP = 10
SHORTEST_S = 0.2
"""Between two changes of the page."""

_LOOK_S, _HEALTH_S = 1.0, 2.0
_FRESH_S, _FRESH_PAYMENTS = 300.0, 20_000
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 5.0
_REST, _REST_OF_SALES = 20, 3
"""A slow question rests so many times as long as it took, the sales fewer times: no panel takes all of the time."""

QUESTION_S, _SLOW_QUESTION_S = 5.0, 60.0
"""For how long what a browser asks, and what a panel needs, may take."""

_ALL_ANEW_S = 3.0
"""Between two times that all sales are read, when nobody says which have changed."""

_AGES_S = 30.0
"""What the clock alone changes, such as carts that are too old, is asked for so often without any news."""

_NOT_LAID_OUT = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.InvalidSchemaName,
)


@dataclass(frozen=True)
class Slow:
    """A panel that is asked for whole, when one of its tables has changed or time has gone on."""

    name: str
    tables: frozenset[str]
    ask: Callable[[Store], Awaitable[Any]]


SLOW = (
    Slow("carts", frozenset({GOLD_ABANDONED_CARTS.name}), questions.carts),
    Slow("funnel", frozenset({GOLD_FUNNEL.name}), questions.funnel),
    Slow("customers", frozenset({GOLD_CUSTOMER_VALUE.name}), questions.customers),
)


class Feed:
    """Owns the connections to the store. `run` lasts until it is cancelled.

    :param dsn: of a role that reads.
    """

    def __init__(self, dsn: str, settings: Settings, board: Board) -> None:
        self._dsn, self._settings, self._board = dsn, settings, board
        self._stale = {slow.name: asyncio.Event() for slow in SLOW}

    async def run(self) -> None:
        """While the store is away the board says so, and keeps what it had."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_again_and_again(self._look_after_health, self._health_unknown))
            group.create_task(_again_and_again(self._follow, self._away))
            for slow in SLOW:
                group.create_task(_again_and_again(partial(self._ask_in_turn, slow), partial(_give_up_for_now, slow)))

    def _away(self, reason: str) -> None:
        known = self._board.panel("store")
        if known is None or known["is_there"]:
            log.warning("live: the store cannot be read: %s", reason)
            self._board.put({"store": {"is_there": False, "since_ms": round(time.time() * 1000)}})

    def _health_unknown(self, reason: str) -> None:
        log.warning("live: how the programs are cannot be read: %s", reason)

    async def _look_after_health(self) -> None:
        while True:
            self._board.put({"health": await asyncio.to_thread(health, self._settings, time.time())})
            await asyncio.sleep(_HEALTH_S)

    async def _ask_in_turn(self, slow: Slow) -> None:
        """One panel that is asked for whole, as often as it costs little."""
        async with await connect_reader(self._dsn, _SLOW_QUESTION_S) as store:
            while True:
                self._stale[slow.name].clear()
                began_s = time.monotonic()
                answer = await slow.ask(store)
                self._board.put({slow.name: answer})
                rest_s = max(_LOOK_S, (time.monotonic() - began_s) * _REST)
                await asyncio.sleep(rest_s)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stale[slow.name].wait(), max(0.0, _AGES_S - rest_s))

    async def _follow(self) -> None:
        """Listens before it reads, so that no change falls between."""
        async with (
            await connect_reader(self._dsn, QUESTION_S) as listener,
            await connect_reader(self._dsn, _SLOW_QUESTION_S) as store,
        ):
            await listener.execute(f"LISTEN {CHANNEL}")
            inbox = Inbox(store)
            listening = asyncio.create_task(inbox.fill(listener))
            try:
                sales = Sales(store, self._settings)
                await sales.read_all()
                for event in self._stale.values():
                    event.set()
                rest_s = SHORTEST_S
                while True:
                    self._board.put({"store": {"is_there": True}} | await sales.panels())
                    await asyncio.sleep(rest_s)
                    notice = await inbox.wait(_LOOK_S)
                    began_s = time.monotonic()
                    await sales.take(notice)
                    # A backfill changes windows by the thousand: all is read anew, and not all the time.
                    rest_s = max(SHORTEST_S, (time.monotonic() - began_s) * _REST_OF_SALES)
                    for slow in SLOW:
                        if slow.tables & notice.tables:
                            self._stale[slow.name].set()
                    if listening.done():
                        listening.result()
            finally:
                listening.cancel()


async def _again_and_again(work: Callable[[], Awaitable[None]], failed: Callable[[str], None]) -> None:
    """Does work that is never done, anew after each outage. :param failed: is told the reason."""
    pause_s = _FIRST_PAUSE_S
    while True:
        began_s = time.monotonic()
        try:
            await work()
        except _NOT_LAID_OUT:
            failed("it has no tables yet; the sink makes them when it starts")
        except Exception as error:  # whatever is in a row, or a file: one that is right may come
            failed(without_values(error))
        pause_s = _FIRST_PAUSE_S if time.monotonic() - began_s > 60 else min(pause_s * 2, _LONGEST_PAUSE_S)
        await asyncio.sleep(pause_s)


def _give_up_for_now(slow: Slow, reason: str) -> None:
    log.info("live: %s could not be asked for: %s", slow.name, reason)


class Sales:
    """What is shown of gold.product_sales: sums that follow the windows that change, and the store clock."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._window_s = store, settings.sales_window_s
        self._sums = Sums()
        self._clock: Clock | None = None
        self._products: dict[int, dict[str, Any]] = {}
        self._waits_s: deque[tuple[float, float]] = deque(maxlen=_FRESH_PAYMENTS)
        self._stored_at_ms = 0
        self._is_all_due, self._read_all_s = False, 0.0

    async def read_all(self) -> None:
        """From nothing."""
        self._is_all_due, self._read_all_s = False, time.monotonic()
        self._sums, self._products = Sums(), {}
        self._clock = await questions.clock(self._store)
        if self._clock is not None:
            self._sums.move(self._clock.now_at)
            async for at, rows in questions.windows_after(self._store, Sums.since(self._clock.now_at)):
                self._sums.replace(at, rows)

    async def take(self, notice: Notice) -> None:
        """What a batch has changed, and what the clock has."""
        self._stored_at_ms = max(self._stored_at_ms, notice.stored_at_ms)
        now_s = time.time()
        self._waits_s.extend((now_s, now_s - paid_at_ms / 1000) for paid_at_ms in notice.paid_at_ms)
        if GOLD_PRODUCTS.name in notice.tables:
            self._products.clear()
        self._is_all_due |= notice.windows is None
        clock = await questions.clock(self._store)
        is_all_anew = self._is_all_due and time.monotonic() - self._read_all_s > _ALL_ANEW_S
        if clock is None or self._clock is None or is_all_anew or self._sums.goes_back(clock.now_at):
            await self.read_all()
            return
        self._clock = clock
        self._sums.move(clock.now_at)
        starts = {at for at in notice.windows or () if at > Sums.since(clock.now_at)}
        if starts:
            rows = await questions.windows_at(self._store, starts)
            for at in starts:
                self._sums.replace(at, rows.get(at, []))

    async def panels(self) -> dict[str, Any]:
        """`clock`, `sales`, `top` and `freshness`, as of what was read."""
        top = {name: self._sums.top(name, TOP) for name in SPANS} if self._clock else {}
        await self._learn({sold.product_id for each in top.values() for sold in each})
        return {
            "clock": self._told_clock(),
            "sales": {
                "window_s": self._window_s,
                "sums": {name: _shown(self._sums.sum(name)) for name in (*SPANS, TODAY)} if self._clock else {},
                "windows": self._windows() if self._clock else [],
            },
            "top": {name: [self._named(sold) for sold in each] for name, each in top.items()},
            "freshness": self._freshness(),
        }

    def _told_clock(self) -> dict[str, Any] | None:
        """While the store clock is wall time, browsers know it themselves."""
        if self._clock is None:
            return None
        now_at = None if self._clock.is_live else self._clock.now_at
        return {"is_live": self._clock.is_live, "now_at": now_at}

    def _windows(self) -> list[list[Any]]:
        return [[at, each.units, _usd(each.revenue_cents)] for at, each in self._sums.windows("hour").items()]

    def _freshness(self) -> dict[str, Any]:
        """Of the payments of the last five minutes: how long ago each was made when the page was told of it."""
        until_s = time.time() - _FRESH_S
        while self._waits_s and self._waits_s[0][0] < until_s:
            self._waits_s.popleft()
        waits_s = [wait_s for _, wait_s in self._waits_s]
        p95_s = percentile(waits_s, 0.95)
        return {
            "payments": len(waits_s),
            "p95_s": None if p95_s is None else round(p95_s, 1),
            "stored_at_ms": self._stored_at_ms,
        }

    async def _learn(self, product_ids: set[int]) -> None:
        unknown = product_ids - self._products.keys()
        if unknown:
            self._products |= await questions.products(self._store, unknown)

    def _named(self, sold: Sold) -> dict[str, Any]:
        known = self._products.get(sold.product_id, {})
        return {
            "product_id": sold.product_id,
            "brand": known.get("brand"),
            "category_code": known.get("category_code"),
            "units": sold.units,
            "revenue_usd": _usd(sold.revenue_cents),
        }


def _shown(sum_: Sum) -> dict[str, Any]:
    revenue, refunds = _usd(sum_.revenue_cents), _usd(sum_.refund_cents)
    return {"units": sum_.units, "revenue_usd": revenue, "refunds_usd": refunds}


def _usd(cents: int) -> str:
    """Cents as dollars with two decimals, as all money that we write."""
    sign, cents = ("-", -cents) if cents < 0 else ("", cents)
    return f"{sign}{cents // 100}.{cents % 100:02}"
