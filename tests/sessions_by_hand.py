"""What sessions, carts and the funnel of sessions must hold, calculated apart: plain SQL over distinct events."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa

_SESSIONS = """
    WITH gaps AS (
        SELECT *, user_session IS NULL AND event_at >= lag(event_at) OVER (
                      PARTITION BY user_id, user_session ORDER BY event_at, event_id) + to_seconds($gap_s) AS new
        FROM events
    ), parts AS (
        SELECT *, count(*) FILTER (new) OVER (PARTITION BY user_id, user_session ORDER BY event_at, event_id
                                              ROWS UNBOUNDED PRECEDING) AS part
        FROM gaps
    ), sessions AS (  -- a number for the session, because user_session can be null
        SELECT *, dense_rank() OVER (ORDER BY user_id, user_session, part) AS session FROM parts
    )"""

_CARTS = """
    , changes AS (
        SELECT *, row_number() OVER (
                   PARTITION BY session ORDER BY event_at,
                   list_position(['cart', 'remove_from_cart', 'purchase'], event_type), event_id) AS k
        FROM sessions WHERE event_type IN ('cart', 'remove_from_cart') OR event_type = 'purchase' AND price >= 0
    ), sums AS (
        SELECT session, product_id, k, lead(k) OVER one AS until_k,
               sum(if(event_type = 'cart', 1, -1)) OVER one AS total,
               last_value(if(event_type = 'cart', price, NULL) IGNORE NULLS) OVER one AS price
        FROM changes WINDOW one AS (PARTITION BY session, product_id ORDER BY k)
    ), quantities AS (  -- a sum clamped at zero in every step: what it ever fell below zero is given back
        SELECT * EXCLUDE total,
               (total - least(0, min(total) OVER (PARTITION BY session, product_id ORDER BY k)))::BIGINT AS quantity
        FROM sums
    ), steps AS (
        SELECT session, k, event_at, lead(event_at) OVER (PARTITION BY session ORDER BY k) AS next_at FROM changes
    ), pauses AS (  -- only there does the cart matter: before a long gap and at the end
        SELECT * FROM steps WHERE next_at IS NULL OR next_at >= event_at + to_seconds($abandon_s)
    ), carts AS (  -- the filled ones; what a product's last change left lasts until its next
        SELECT session, pauses.k, event_at, next_at,
               list({'product_id': product_id, 'quantity': quantity, 'price': price} ORDER BY product_id) AS cart,
               sum(quantity * price)::DECIMAL(20,2) AS cart_value
        FROM pauses JOIN quantities USING (session)
        WHERE quantity > 0 AND quantities.k <= pauses.k AND (until_k IS NULL OR until_k > pauses.k)
        GROUP BY ALL
    )"""

SESSIONS = f"""
    {_SESSIONS} {_CARTS}, facts AS (
        SELECT session, user_id, user_session, min(event_at) AS started_at, max(event_at) AS ended_at,
               count(*) AS events, count(*) FILTER (event_type = 'view') AS views,
               count(*) FILTER (event_type = 'cart') AS carts,
               count(*) FILTER (event_type = 'remove_from_cart') AS removes,
               count(*) FILTER (event_type = 'purchase') AS purchases,
               coalesce(sum(price) FILTER (event_type = 'purchase' AND price > 0), 0)::DECIMAL(20,2) AS revenue
        FROM sessions GROUP BY ALL
    ), changed AS (SELECT session, max(event_at) AS last_cart_change_at FROM changes GROUP BY ALL)
    SELECT facts.* EXCLUDE session, coalesce(cart, []) AS cart, coalesce(cart_value, 0)::DECIMAL(20,2) AS cart_value,
           last_cart_change_at
    FROM facts LEFT JOIN changed USING (session)
         LEFT JOIN (FROM carts WHERE next_at IS NULL) USING (session)
    ORDER BY user_id, user_session, started_at"""

ABANDONED = f"""
    {_SESSIONS} {_CARTS}, newest AS (
        SELECT session, arg_max(cart, k) AS items, arg_max(cart_value, k) AS cart_value, count(*) AS abandonments,
               max(event_at) + to_seconds($abandon_s) AS abandoned_at
        FROM carts WHERE next_at IS NOT NULL OR event_at + to_seconds($abandon_s) <= $now GROUP BY ALL
    ), starts AS (SELECT session, user_id, user_session, min(event_at) AS started_at FROM sessions GROUP BY ALL),
    recovered AS (
        SELECT session, min(event_at) AS recovered_at
        FROM newest JOIN starts USING (session) JOIN events USING (user_id)
        WHERE event_type = 'purchase' AND price >= 0 AND list_contains([item.product_id FOR item IN items], product_id)
              AND event_at BETWEEN abandoned_at AND abandoned_at + to_seconds($recovery_s)
        GROUP BY ALL
    )
    SELECT user_id, user_session, started_at, items, cart_value, abandonments, abandoned_at, recovered_at
    FROM newest JOIN starts USING (session) LEFT JOIN recovered USING (session)
    ORDER BY user_id, user_session, started_at"""

FUNNEL = f"""
    {_SESSIONS}, days AS (
        SELECT *, (min(event_at) OVER (PARTITION BY session))::DATE AS started_on FROM sessions
    ), scopes AS (
        SELECT 'day' AS scope, '' AS its_brand, * FROM days
        UNION ALL
        SELECT 'brand', coalesce(brand, ''), * FROM days
    ), counted AS (
        SELECT started_on AS event_on, scope, its_brand AS brand,
               count(DISTINCT user_id) AS visitors, count(DISTINCT session) AS sessions,
               count(DISTINCT session) FILTER (event_type = 'view') AS viewed,
               count(DISTINCT session) FILTER (event_type = 'cart') AS carted,
               count(DISTINCT session) FILTER (event_type = 'purchase' AND price > 0) AS bought
        FROM scopes GROUP BY ALL
    ) SELECT *, bought / sessions AS conversion FROM counted ORDER BY event_on, scope, brand"""


def sessions_by_hand(events: pa.Table, gap_s: int = 1800, abandon_s: int = 1800) -> pa.Table:
    """In: distinct events. Out: a row per session, with the cart that it left (which no `abandon_s` changes)."""
    return _run(SESSIONS, events, gap_s=gap_s, abandon_s=abandon_s)


def carts_by_hand(
    events: pa.Table, now: datetime, gap_s: int = 1800, abandon_s: int = 1800, recovery_s: int = 604800
) -> pa.Table:
    """Out: a row per session with an abandoned cart. `now` must not be before the last event."""
    return _run(ABANDONED, events, now=now, gap_s=gap_s, abandon_s=abandon_s, recovery_s=recovery_s)


def funnel_by_hand(events: pa.Table, gap_s: int = 1800) -> pa.Table:
    """Out: per day on which sessions began, how far they came: in the whole store and per brand."""
    return _run(FUNNEL, events, gap_s=gap_s)


TABLES = ("silver.sessions", "gold.abandoned_carts", "gold.funnel")


def table_by_hand(name: str, events: pa.Table, now: datetime) -> pa.Table:
    """One of the TABLES, in the columns that say something (keys and days follow from them)."""
    if name == "silver.sessions":
        return sessions_by_hand(events)
    return carts_by_hand(events, now) if name == "gold.abandoned_carts" else funnel_by_hand(events)


def _run(sql: str, events: pa.Table, **arguments: Any) -> pa.Table:
    with duckdb.connect() as duck:
        duck.execute("SET TimeZone = 'UTC'")
        duck.execute("SET threads = 1")  # what is under test runs on the same machine
        duck.register("events", events)
        return duck.sql(sql, params=arguments).to_arrow_table()
