"""What the page asks the store: rows of views -> panels as plain values."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from serving.live.sums import Sold

Store = AsyncConnection[Any]

VALUE_STEPS_USD = (25, 50, 100, 200, 500)
"""Customers are counted by revenue: up to 25 USD, from 25 to 50, ..., 500 and more."""

_CARTS, _ORDERS = 8, 8
_WINDOWS = """
    SELECT window_start_at, product_id, units, (revenue * 100)::bigint, (refund_amount * 100)::bigint
    FROM gold.product_sales WHERE {} AND product_id IS NOT NULL AND units IS NOT NULL AND isfinite(window_start_at)
        AND revenue BETWEEN -1e16 AND 1e16 AND refund_amount BETWEEN -1e16 AND 1e16
    ORDER BY window_start_at"""
"""Rows that somebody else has put there count for nothing: without a value, without end, no numbers."""


@dataclass(frozen=True)
class Clock:
    """:param now_at: the store clock. :param is_live: it is wall time; else the newest event of replayed files."""

    now_at: datetime
    is_live: bool


async def clock(store: Store) -> Clock | None:
    """None while the store has no event."""
    found = await (await store.execute("SELECT now_at, is_live FROM storefront.store_clock")).fetchone()
    return Clock(*found) if found else None


async def windows_after(store: Store, at: datetime) -> AsyncIterator[tuple[datetime, list[Sold]]]:
    """The windows of gold.product_sales that start later, with their rows, as of one moment."""
    async with store.transaction(), store.cursor("windows") as cursor:
        cursor.itersize = 20_000
        await cursor.execute(_WINDOWS.format("window_start_at > %s"), [at])
        rows: list[Sold] = []
        last_at: datetime | None = None
        async for window_at, *row in cursor:
            if last_at is not None and window_at != last_at:
                yield last_at, rows
                rows = []
            last_at = window_at
            rows.append(Sold(*row))
        if last_at is not None:
            yield last_at, rows


async def windows_at(store: Store, starts: Collection[datetime]) -> dict[datetime, list[Sold]]:
    """The rows of these windows, each with all it has; nothing of a window that has no row."""
    found = await (await store.execute(_WINDOWS.format("window_start_at = ANY(%s)"), [list(starts)])).fetchall()
    return {at: [Sold(*row) for _, *row in rows] for at, rows in groupby(found, itemgetter(0))}


async def products(store: Store, product_ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Brand, category and price of these products, of those that are known."""
    found = await _rows(
        store,
        "SELECT product_id, brand, category_code, price FROM gold.products WHERE product_id = ANY(%s)",
        [list(product_ids)],
    )
    return {row["product_id"]: row for row in found}


async def funnel(store: Store) -> dict[str, Any] | None:
    """The newest day of sessions that the store clock has come to."""
    found = await _rows(
        store,
        """SELECT day_on, sessions, viewed, carted, bought, conversion FROM storefront.funnel_by_day
           WHERE day_on <= (storefront.store_now() AT TIME ZONE 'UTC')::date ORDER BY day_on DESC LIMIT 1""",
    )
    return found[0] if found else None


async def carts(store: Store) -> dict[str, Any]:
    """How many carts are open, what they are worth, the newest of them; and what came back since midnight."""
    (total,) = await _rows(
        store,
        """SELECT count(*) AS carts, coalesce(sum(cart_value), 0.00) AS value_usd
           FROM storefront.open_abandoned_carts""",
    )
    newest = await _rows(
        store,
        """SELECT session_key, user_id, cart_value, abandoned_at, orders, 
                  jsonb_path_query_array(items, '$.quantity') AS quantities
           FROM storefront.open_abandoned_carts ORDER BY abandoned_at DESC, session_key LIMIT %s""",
        [_CARTS],
    )
    (recovered,) = await _rows(
        store,
        """SELECT count(*) AS carts, coalesce(sum(cart_value), 0.00) AS value_usd FROM gold.abandoned_carts
           WHERE recovered_at >= date_trunc('day', storefront.store_now(), 'UTC')""",
    )
    for cart in newest:
        cart["items"] = sum(cart.pop("quantities"))
    return {"open": total, "recovered_today": recovered, "newest": newest}


async def customers(store: Store) -> dict[str, Any]:
    """Buyers by what they have spent, and by segment."""
    steps = await _rows(
        store,
        """SELECT width_bucket(revenue, %s::numeric[]) AS step, count(*) AS customers, sum(revenue) AS revenue_usd
           FROM gold.customer_value WHERE orders > 0 GROUP BY 1 ORDER BY 1""",
        [list(VALUE_STEPS_USD)],
    )
    segments = await _rows(
        store,
        """SELECT segment, count(*) AS customers, sum(revenue) AS revenue_usd
           FROM storefront.customers WHERE orders > 0 GROUP BY 1 ORDER BY revenue_usd DESC, segment""",
    )
    return {"steps_usd": VALUE_STEPS_USD, "by_value": steps, "by_segment": segments}


async def product(store: Store, product_id: int) -> dict[str, Any] | None:
    """One product: what it is, its sales in all and by hour over the newest day of the store clock, its newest orders.
    None: nothing is known of it.
    """
    async with store.transaction():
        known = (await products(store, [product_id])).get(product_id)
        sold = await _rows(
            store,
            """SELECT units, revenue AS revenue_usd, refund_amount AS refund_usd, last_purchase_at
               FROM storefront.sales_by_product WHERE product_id = %s""",
            [product_id],
        )
        if known is None and not sold:
            return None
        now = await clock(store)
        hours = await _rows(
            store,
            """SELECT date_trunc('hour', window_start_at, 'UTC') AS hour_at, sum(units)::bigint AS units,
                      sum(revenue) AS revenue_usd
               FROM gold.product_sales WHERE product_id = %s AND window_start_at > %s GROUP BY 1 ORDER BY 1""",
            [product_id, now.now_at - timedelta(days=1) if now else None],
        )
        orders = await _rows(
            store,
            """SELECT order_id, ordered_at, user_id, jsonb_array_length(lines) AS lines, total AS total_usd
               FROM gold.orders WHERE row @> jsonb_build_object('lines', jsonb_build_array(
                   jsonb_build_object('product_id', %s::bigint)))
               ORDER BY ordered_at DESC, order_id LIMIT %s""",
            [product_id, _ORDERS],
        )
    facts = known or {"product_id": product_id, "brand": None, "category_code": None, "price": None}
    now_at = now.now_at if now else None
    return facts | {"now_at": now_at, "sold": sold[0] if sold else None, "hours": hours, "orders": orders}


async def _rows(store: Store, query: str, values: list[Any] | None = None) -> list[dict[str, Any]]:
    async with store.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, values)
        return await cursor.fetchall()
