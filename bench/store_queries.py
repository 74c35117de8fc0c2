"""`lakehouse bench queries`: what people ask PostgreSQL, while the store is large and sales keep coming in.

The store is filled with a million rows through the sink; then the generated stream runs through everything that `up`
runs, and the questions are asked in turn by the role `bi`, each again and again.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any

import numpy as np
import psycopg
import typer

from bench.command import Rate
from bench.latency import say_on_stderr
from bench.testbed import fresh_stack
from ingest.catalogue import catalogue
from ingest.shape import StoreShape
from lakehouse.command import AsJson
from lakehouse.errors import ServiceError
from lakehouse.percentiles import percentiles
from lakehouse.settings import Settings
from lakehouse.tables import (
    GOLD_CUSTOMER_VALUE,
    GOLD_ORDERS,
    GOLD_PRODUCT_SALES,
    GOLD_PRODUCT_SALES_DAILY,
    GOLD_PRODUCTS,
    Table,
)
from lakehouse.topics import GoldTopics, Row
from operate.served import lag
from operate.services.postgres import PostgresServer
from operate.stack import Stack
from operate.supervisor import Program, Say, tail

_LOT = 5000
_SOLD_IN_A_MINUTE = 1700  # as the stream of 500 events/s does
_SHARES = {
    GOLD_PRODUCT_SALES: 0.6,
    GOLD_PRODUCT_SALES_DAILY: 0.15,
    GOLD_ORDERS: 0.15,
    GOLD_CUSTOMER_VALUE: 0.05,
    GOLD_PRODUCTS: 0.05,
}

QUERIES = {
    "top products of the last hour": """
        SELECT product_id, brand, units, revenue FROM storefront.sales_last_hour ORDER BY revenue DESC LIMIT 10""",
    "revenue by brand and day, a week": """
        SELECT day_on, brand, sum(units) AS units, sum(revenue) AS revenue FROM storefront.sales_by_day
        WHERE day_on > storefront.store_now()::date - 7 GROUP BY 1, 2 ORDER BY 1, 4 DESC""",
    "customers by segment": """
        SELECT segment, count(*), sum(revenue), avg(average_order) FROM storefront.customers GROUP BY 1""",
    "what the best customers bought, by brand, a day": """
        SELECT p.brand, count(*) AS lines, sum((line->>'price')::numeric) AS revenue,
               count(DISTINCT o.user_id) AS customers
        FROM gold.orders AS o
        JOIN gold.customer_value AS c ON c.user_id = o.user_id AND c.revenue >= 500
        CROSS JOIN jsonb_array_elements(o.lines) AS line
        JOIN gold.products AS p ON p.product_id = (line->>'product_id')::bigint
        WHERE o.ordered_at > storefront.store_now() - interval '1 day'
        GROUP BY 1 ORDER BY 3 DESC LIMIT 20""",
    "orders with a coupon, a field we do not know, by their JSON": """
        SELECT count(*), sum(revenue) FROM gold.orders WHERE row @> '{"lines": [{"extras": {"coupon": "c47"}}]}'""",
}


def bench_queries(
    settings: Settings,
    show: Say,
    rows: Annotated[int, typer.Option(metavar="N", help="in the store before")] = 1_000_000,
    rate_per_s: Rate = 500.0,
    seconds: Annotated[float, typer.Option(metavar="S", help="measured")] = 60.0,
    as_json: AsJson = False,
) -> int:
    """Exit code 1 when a query's p95 is not under 200 ms."""
    with fresh_stack(settings, say_on_stderr) as stack:
        facts = _measure(stack, rows, rate_per_s, seconds, say_on_stderr)
    show(json.dumps(facts, indent=2) if as_json else _text(facts))
    return 0 if all(query["p95_ms"] < 200 for query in facts["queries"].values()) else 1


def _measure(stack: Stack, rows: int, rate_per_s: float, seconds: float, say: Say) -> dict[str, Any]:
    stack.start_postgres()
    stack.wait_for_postgres()
    stack.start_sink()
    filled_s = _fill(stack, rows, say)
    stack.start_pipeline()
    stack.wait_for_pipeline()
    stack.start_rounds()
    flags = [f"--rate={rate_per_s}", f"--seconds={seconds + 30}", "--seed=1"]
    command = [sys.executable, "-m", "ingest.produce", *flags]
    environment = stack.settings.as_environment()
    stack.supervisor.start(Program("feeder", command, stack.settings.logs / "feeder.log", environment, restart=False))
    say("the stream warms up for 30 s")
    _watch_until(stack, time.monotonic() + 30)
    say(f"asking for {seconds:g} s")
    before = os.getloadavg()
    lasted_ms = _ask(stack, time.monotonic() + seconds)
    facts = {
        "serving_rows": rows,
        "filled_rows_per_s": round(rows / filled_s),
        "rate_per_s": rate_per_s,
        "seconds": seconds,
        "queries": {name: _summary(values) for name, values in lasted_ms.items()},
        "load_average_before": [round(value, 2) for value in before],
        "load_average_after": [round(value, 2) for value in os.getloadavg()],
    }
    if stack.supervisor.exit_code("feeder"):
        raise ServiceError(f"The feeder failed.\n{tail(stack.settings.logs / 'feeder.log')}")
    return facts


def _fill(stack: Stack, rows: int, say: Say) -> float:
    """Out: seconds until all of them were served."""
    topics, began_s = GoldTopics(stack.settings), time.monotonic()
    draw, now = random.Random(1), datetime.now(UTC).replace(microsecond=0)
    for table, share in _SHARES.items():
        lot: list[Row] = []
        for row in made_rows(table, round(rows * share), draw, now):
            lot.append(row)
            if len(lot) == _LOT:
                topics.publish(table, lot)
                lot = []
        topics.publish(table, lot)
        say(f"{table.name}: {round(rows * share):,} rows published")
    while lag(stack.settings):
        _watch_until(stack, time.monotonic() + 0.5)
    with psycopg.connect(stack.settings.postgres_dsn.get_secret_value(), autocommit=True) as connection:
        connection.execute("ANALYZE")
    return time.monotonic() - began_s


def _ask(stack: Stack, end_s: float) -> dict[str, list[float]]:
    """Each question in turn, a tenth of a second apart. Out: milliseconds, the rows fetched."""
    lasted_ms: dict[str, list[float]] = {name: [] for name in QUERIES}
    with psycopg.connect(PostgresServer(stack.settings).bi_dsn, autocommit=True) as connection:
        while time.monotonic() < end_s:
            for name, query in QUERIES.items():
                began_s = time.monotonic()
                connection.execute(query).fetchall()
                lasted_ms[name].append((time.monotonic() - began_s) * 1000)
                time.sleep(0.1)
            stack.supervisor.watch()
    return lasted_ms


def _watch_until(stack: Stack, end_s: float) -> None:
    while time.monotonic() < end_s:
        stack.supervisor.watch()
        time.sleep(0.1)


def made_rows(table: Table, count: int, draw: random.Random, now: datetime) -> Iterator[Row]:
    """So many rows of a table, each of a key of its own, over the last half year; brands and prices as in a store."""
    midnight = now.replace(hour=0, minute=0, second=0)
    if table == GOLD_PRODUCT_SALES:
        sold = _sold(now.replace(second=0), timedelta(minutes=1), _SOLD_IN_A_MINUTE, draw)
    else:
        sold = _sold(midnight, timedelta(days=1), max(100, count // 25), draw)
    for number in range(count):
        made = {"revision": 1, "updated_at": now}
        units = 1 + int(draw.paretovariate(1.5))
        revenue = Decimal(draw.randrange(50, 5000)) * units / 100
        sums = {"units": units, "revenue": revenue, "refund_units": 0, "refund_amount": Decimal(0)}
        if table in (GOLD_PRODUCT_SALES, GOLD_PRODUCT_SALES_DAILY):
            start, end, product = next(sold)
            window = {"window_start_at": start, "window_end_at": end, "window_start_on": start.date()}
            yield window | {"product_id": product, "buyers": 1, "last_purchase_at": start} | sums | made
        elif table == GOLD_ORDERS:
            at = now - timedelta(seconds=100 * number)
            lines = [
                {
                    "event_id": f"{number:032x}{line}",
                    "product_id": draw.randrange(50_000),
                    "price": revenue / units,
                    "extras": json.dumps({"coupon": f"c{draw.randrange(1000)}"}),
                }
                for line in range(units)
            ]
            who = {
                "order_id": f"{number:032x}",
                "ordered_at": at,
                "ordered_on": at.date(),
                "user_session": f"s{number}",
            }
            yield who | {"user_id": draw.randrange(50_000), "lines": lines, "total": revenue} | sums | made
        elif table == GOLD_CUSTOMER_VALUE:
            first, last = sorted(now - timedelta(hours=draw.randrange(4000)) for _ in range(2))
            value = {
                "orders": units,
                "units": 5 * units,
                "revenue": 20 * revenue,
                "refund_units": 0,
                "refunds": Decimal(0),
            }
            yield {"user_id": number, "first_purchase_at": first, "last_purchase_at": last} | value | made
        else:
            shown = {"category_id": 1487580005134238553, "category_code": None, "brand": f"brand {number % 300}"}
            seen = {"price": revenue / units, "last_event_at": now, "last_event_id": f"{number:032x}"}
            yield {"product_id": number} | shown | seen | made


def _sold(
    start: datetime, length: timedelta, sales: int, draw: random.Random
) -> Iterator[tuple[datetime, datetime, int]]:
    """Windows, the newest first, each with the products of so many sales, popular ones more often.

    Out: start and end of the window, product.
    """
    goods, numpy_draw = catalogue(StoreShape()), np.random.default_rng(draw.randrange(2**32))
    while True:
        for product in np.unique(goods.draw(goods.carted, numpy_draw, sales)).tolist():
            yield start, start + length, product
        start -= length


def _summary(lasted_ms: list[float]) -> dict[str, Any]:
    return {"asked": len(lasted_ms)} | percentiles(lasted_ms, "ms", 1)


def _text(facts: dict[str, Any]) -> str:
    lines = [
        f"{facts['serving_rows']:,} rows served ({facts['filled_rows_per_s']:,} rows/s through Kafka and the sink),"
        f" {facts['rate_per_s']:g} events/s coming in; load average {facts['load_average_before'][0]} before,"
        f" {facts['load_average_after'][0]} after"
    ]
    for name, query in facts["queries"].items():
        times = "  ".join(f"{each[:-3]} {query[each]:.1f} ms" for each in ("p50_ms", "p95_ms", "p99_ms", "max_ms"))
        lines.append(f"{name}: {times}  ({query['asked']} times)")
    return "\n".join(lines)
