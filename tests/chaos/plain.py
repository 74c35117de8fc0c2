"""The plain calculation: what the tables must hold, from the records that were sent. One batch, SQL, nothing of ours.

It shares no code with the layers, so that one mistake cannot be in both.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import pyarrow as pa

_SPACE = r"' ' || chr(9) || chr(10) || chr(13)"


@dataclass(frozen=True)
class Plain:
    """What is to be found. Times are microseconds since 1970, money is decimal USD.

    :param events: one row per distinct event: its nine normalised values.
    :param copies: one row per further record of an event: the same columns.
    :param refused: one row per broken record: digest of its value, and the rules that it breaks, sorted.
    :param sales: one row per window and product with a sale or a refund.
    """

    events: pa.Table
    copies: pa.Table
    refused: pa.Table
    sales: pa.Table


def calculate(records: pa.Table, window_s: int) -> Plain:
    """In: a row per record sent: key, value (bytes), rules (list of text, empty for a good event)."""
    duck = duckdb.connect()
    duck.execute("SET TimeZone = 'UTC'")
    duck.register("records", records)
    duck.execute(f"""
        CREATE TABLE good AS SELECT decode(value) AS text FROM records WHERE len(rules) = 0;
        CREATE TABLE told AS SELECT
            epoch_us(strptime({_text("event_time")}, '%Y-%m-%d %H:%M:%S UTC')) AS event_at_us,
            {_text("event_type")} AS event_type,
            {_text("product_id")}::BIGINT AS product_id,
            {_text("category_id")}::BIGINT AS category_id,
            {_text("category_code")} AS category_code,
            {_text("brand")} AS brand,
            {_text("price")}::DECIMAL(10,2) AS price,
            {_text("user_id")}::BIGINT AS user_id,
            {_text("user_session")} AS user_session
        FROM good;
        CREATE TABLE events AS SELECT DISTINCT * FROM told;
    """)
    sales = f"""
        SELECT event_at_us // {window_s * 1_000_000} * {window_s * 1_000_000} AS window_start_us, product_id,
               count(*) FILTER (price > 0) AS units,
               coalesce(sum(price) FILTER (price > 0), 0)::DECIMAL(20,2) AS revenue,
               count(DISTINCT user_id) FILTER (price > 0) AS buyers,
               count(*) FILTER (price < 0) AS refund_units,
               coalesce(-sum(price) FILTER (price < 0), 0)::DECIMAL(20,2) AS refund_amount,
               max(event_at_us) AS last_purchase_us
        FROM events WHERE event_type = 'purchase' AND price <> 0 GROUP BY ALL"""
    return Plain(
        duck.sql("FROM events").to_arrow_table(),
        duck.sql("FROM told EXCEPT ALL FROM events").to_arrow_table(),
        duck.sql("""
            SELECT md5(value) AS digest, array_to_string(list_sort(rules), ' ') AS reasons
            FROM records WHERE len(rules) > 0""").to_arrow_table(),
        duck.sql(sales).to_arrow_table(),
    )


def _text(field: str) -> str:
    """SQL of a field as normalised text; null when it is missing, null or empty."""
    return f"nullif(nfc_normalize(trim(text->>'$.{field}', {_SPACE})), '')"
