"""What gold must hold, calculated apart: plain SQL over distinct events. It shares no code with the layers."""

from __future__ import annotations

from typing import Any

import duckdb
import pyarrow as pa

_SALES = """
    SELECT time_bucket(INTERVAL '{seconds} seconds', event_at) AS window_start_at, product_id,
           count(*) FILTER (price > 0) AS units, coalesce(sum(price) FILTER (price > 0), 0)::DECIMAL(20,2) AS revenue,
           count(DISTINCT user_id) FILTER (price > 0) AS buyers,
           count(*) FILTER (price < 0) AS refund_units,
           coalesce(-sum(price) FILTER (price < 0), 0)::DECIMAL(20,2) AS refund_amount,
           max(event_at) AS last_purchase_at
    FROM events WHERE event_type = 'purchase' AND price <> 0 GROUP BY ALL"""

SQL = {
    "gold.product_sales": _SALES.format(seconds=60),
    "gold.product_sales_hourly": _SALES.format(seconds=3600),
    "gold.product_sales_daily": _SALES.format(seconds=86400),
    "gold.orders": """
        SELECT user_id, user_session, event_at AS ordered_at, event_at::DATE AS ordered_on,
               list({'event_id': event_id, 'product_id': product_id, 'price': price,
                     'extras': to_json(map_from_entries(list_sort(map_entries(extras))))::VARCHAR}
                    ORDER BY event_id) AS lines,
               count(*) FILTER (price > 0) AS units, coalesce(sum(price) FILTER (price > 0), 0)::DECIMAL(20,2)
                   AS revenue,
               count(*) FILTER (price < 0) AS refund_units,
               coalesce(-sum(price) FILTER (price < 0), 0)::DECIMAL(20,2) AS refund_amount,
               sum(price)::DECIMAL(20,2) AS total
        FROM events WHERE event_type = 'purchase' GROUP BY ALL""",
    "gold.products": """
        SELECT product_id, category_id, category_code, brand, price, event_at AS last_event_at,
               event_id AS last_event_id
        FROM events QUALIFY row_number() OVER (PARTITION BY product_id ORDER BY event_at DESC, event_id DESC) = 1""",
    "gold.customer_value": """
        SELECT user_id, count(DISTINCT (event_at, user_session)) FILTER (price > 0) AS orders,
               count(*) FILTER (price > 0) AS units, coalesce(sum(price) FILTER (price > 0), 0)::DECIMAL(20,2)
                   AS revenue,
               count(*) FILTER (price < 0) AS refund_units,
               coalesce(-sum(price) FILTER (price < 0), 0)::DECIMAL(20,2) AS refunds,
               min(event_at) FILTER (price > 0) AS first_purchase_at,
               max(event_at) FILTER (price > 0) AS last_purchase_at
        FROM events WHERE event_type = 'purchase' AND price <> 0 GROUP BY ALL""",
}
"""Table -> its rows in the columns that say something (the ends of windows and the ids of orders follow from them)."""


def by_hand(events: pa.Table, name: str, columns: str = "*") -> list[tuple[Any, ...]]:
    """In: distinct events, with the columns of silver.events. Out: the rows of a table of gold, sorted."""
    with duckdb.connect() as duck:
        duck.execute("SET TimeZone = 'UTC'")
        duck.register("events", events)
        return ordered(duck.sql(f"SELECT {columns} FROM ({SQL[name]})").to_arrow_table())


def columns_of(name: str) -> list[str]:
    """The columns that `by_hand` calculates."""
    with duckdb.connect() as duck:
        duck.execute(
            """CREATE TABLE events (event_id TEXT, event_at TIMESTAMPTZ, event_type TEXT, product_id BIGINT,
               category_id BIGINT, category_code TEXT, brand TEXT, price DECIMAL(10,2), user_id BIGINT,
               user_session TEXT, extras MAP(TEXT, TEXT))"""
        )
        return list(duck.sql(SQL[name]).columns)


def ordered(rows: pa.Table) -> list[tuple[Any, ...]]:
    return sorted((tuple(map(_plain, row.values())) for row in rows.to_pylist()), key=repr)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(tuple(each.values()) for each in value)
    return value
