"""Somebody else writes to gold's topics, the store and its channel: sink and page go on, and logs tell nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from lakehouse.producers import make_producer
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_CUSTOMER_VALUE, GOLD_PRODUCT_SALES, PUBLISHED, Table
from lakehouse.topics import GoldTopics, key_of
from lakehouse.wire import to_json, to_key
from operate.services.kafka import KafkaBroker
from operate.services.postgres import DATABASE, PostgresServer
from serving.live.board import Board
from serving.live.follow import Feed
from serving.notice import CHANNEL
from serving.rejected import MOST_ROWS, MOST_VALUE_BYTES
from serving.state import read_state
from tests.gold_rows import AT, customer, sale
from tests.postgres_server import running_server
from tests.services.pages import page_server, shop_in
from tests.services.sinks import serving, wait_for, wait_until_served

CUSTOMER, SESSION = 424242424242, "canary-session"
"""Of nobody, and nowhere else."""


@pytest.fixture
def settings(kafka_broker: KafkaBroker, postgres: PostgresServer, tmp_path: Path) -> Settings:
    return shop_in(kafka_broker, postgres, tmp_path)


def ask(settings: Settings, query: str) -> list[tuple]:
    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
        return connection.execute(query).fetchall()  # type: ignore[arg-type]


class Stranger:
    """Somebody else who may write to gold's topics. :param sent: how much of it is no row of gold."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._producer, self.sent = settings, make_producer(settings), 0

    def send(self, table: Table, key: bytes | None, value: bytes | None, headers: Any = None) -> None:
        self._producer.produce(table.topic(self._settings), key=key, value=value, headers=headers)
        self.sent += 1

    def flush(self) -> None:
        self._producer.flush()


def forged(**other: Any) -> bytes:
    """A row of the customer, and yet none."""
    return json.dumps(json.loads(to_json(customer(CUSTOMER, 2))) | {"user_session": SESSION} | other).encode()


def send_what_is_no_row(stranger: Stranger) -> None:
    key, highest = str(CUSTOMER).encode(), 2**63 - 1
    for value in (
        forged(),
        forged(revision=highest),
        b'{"revision":%d}' % highest,
        b"[" * 20_000,
        b"\xff",
        b"",
        b"null",
    ):
        stranger.send(GOLD_CUSTOMER_VALUE, key, value)
    stranger.send(GOLD_CUSTOMER_VALUE, b"k" * 9000, to_json(customer(CUSTOMER, 2)))
    stranger.send(GOLD_CUSTOMER_VALUE, bytes(range(255, 0, -1)) * 35, to_json(customer(CUSTOMER, 2)))
    stranger.send(GOLD_CUSTOMER_VALUE, key, to_json(customer(CUSTOMER, 2)), [("paid_at_us", b"soon")])
    stranger.send(GOLD_CUSTOMER_VALUE, key, None)
    stranger.send(GOLD_CUSTOMER_VALUE, key, None, [("revision", str(highest).encode())])
    row = sale(1, AT)
    key = to_key(*key_of(row, GOLD_PRODUCT_SALES))
    shown = json.loads(to_json(row))
    for other in ({"window_start_at": "infinity"}, {"revenue": "NaN"}, {"units": None}, {"revision": highest}):
        stranger.send(GOLD_PRODUCT_SALES, key, json.dumps(shown | other).encode())
    stranger.send(GOLD_PRODUCT_SALES, b"abc|1", to_json(row))
    stranger.send(GOLD_PRODUCT_SALES, b"abc|1", None, [("revision", b"1")])
    for table in PUBLISHED:
        stranger.send(table, b"x", b'{"revision":1}')


def test_what_is_no_row_of_gold_is_set_aside_and_wins_over_nothing(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    topics, stranger = GoldTopics(settings), Stranger(settings)
    topics.publish(GOLD_CUSTOMER_VALUE, [customer(CUSTOMER, 1)])
    topics.publish(GOLD_PRODUCT_SALES, [sale(1, AT)])
    send_what_is_no_row(stranger)
    stranger.flush()
    topics.publish(GOLD_CUSTOMER_VALUE, [customer(CUSTOMER, 2)])
    with serving(settings):
        wait_until_served(settings)
        assert ask(settings, "SELECT count(*) FROM sink.rejected") == [(stranger.sent,)]
        ((kept, why),) = ask(settings, r"SELECT value, reason FROM sink.rejected WHERE value = '\xff'")
        assert (bytes(kept), why) == (b"\xff", "it is no text in UTF-8")
        for _ in range(MOST_ROWS + 500):
            stranger.send(GOLD_CUSTOMER_VALUE, b"1", b"x" * 20_000)
        stranger.flush()
        topics.publish(GOLD_CUSTOMER_VALUE, [customer(7, 1)])
        wait_until_served(settings)
    assert sorted(ask(settings, "SELECT user_id, revision FROM gold.customer_value")) == [(7, 1), (CUSTOMER, 2)]
    assert ask(settings, "SELECT units, revenue, revision FROM gold.product_sales") == [(1, Decimal("2.62"), 1)]
    assert ask(settings, "SELECT count(*), max(length(value)) FROM sink.rejected") == [(MOST_ROWS, MOST_VALUE_BYTES)]
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert 0 < len(warnings) < 20 and all("set aside" in each for each in warnings), warnings


def test_the_page_survives_any_row_and_any_notice(settings: Settings) -> None:
    """Rows that the sink would not have stored, by whoever may write there; and notices, which every role may send."""
    topics = GoldTopics(settings)
    topics.publish(GOLD_PRODUCT_SALES, [sale(1, AT, "1.00")])
    with serving(settings):
        wait_until_served(settings)
        of_nobody = {"product_id": "2", "units": "0", "revenue": "0"}
        for column, value in (
            ("window_start_at", "infinity"),
            ("window_start_at", "-infinity"),
            ("last_purchase_at", None),
            ("units", None),
            ("product_id", None),
            ("revenue", "NaN"),
            ("updated_at", "infinity"),
        ):
            other = of_nobody | {"key": f"{column} {value}", column: value}
            ask(
                settings,
                f"""INSERT INTO gold.product_sales
                    SELECT (jsonb_populate_record(s, '{json.dumps(other)}')).* FROM gold.product_sales AS s
                    WHERE key LIKE '20%|1' RETURNING 1""",
            )
        asyncio.run(_page_is_up_to_date(settings, topics))


async def _page_is_up_to_date(settings: Settings, topics: GoldTopics) -> None:
    board = Board()
    feed = asyncio.create_task(Feed(settings.live_dsn.get_secret_value(), settings, board).run())

    async def until_it_shows(revenue: str) -> None:
        end_s = time.monotonic() + 60
        while (board.panel("sales") or {"sums": {}})["sums"].get("today", {}).get("revenue_usd") != revenue:
            assert not feed.done() and time.monotonic() < end_s, (board.panel("sales"), board.panel("store"))
            await asyncio.sleep(0.05)

    await until_it_shows("1.00")
    windows = [(AT + timedelta(minutes=each)).isoformat() for each in range(100)]
    false = {
        "tables": [GOLD_PRODUCT_SALES.name],
        "windows": windows,
        "paid_at_ms": [1],
        "stored_at_ms": 4_000_000_000_000,
    }
    async with await psycopg.AsyncConnection.connect(settings.live_dsn.get_secret_value(), autocommit=True) as anybody:
        for payload in ("x", "", "{}", "[" * 7_999, "\x1b" * 7_999, '{"windows":["abc"]}', json.dumps(false)):
            await anybody.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])
    # As the sink, but not in its words: all is read anew.
    for payload in ("x", '{"tables":[],"windows":["abc"],"paid_at_ms":[],"stored_at_ms":1}'):
        ask(settings, f"SELECT pg_notify('{CHANNEL}', '{payload}')")
    ask(settings, "UPDATE gold.product_sales SET revenue = 2 WHERE key LIKE '20%|1' RETURNING 1")
    await until_it_shows("2.00")
    assert board.panel("freshness")["payments"] == 0 and board.panel("freshness")["stored_at_ms"] < 4_000_000_000_000
    # The sink is believed: when the payment was made is known from its notice alone.
    row = sale(1, AT, "3.00", revision=2)
    topics.publish(GOLD_PRODUCT_SALES, [row], {key_of(row, GOLD_PRODUCT_SALES): time.time_ns() // 1000})
    await until_it_shows("3.00")
    assert board.panel("freshness")["payments"] == 1
    feed.cancel()


def test_no_log_has_a_customers_data(settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Through each way in which sink and page can fail; looked for in what they say, and in the server's own log."""
    caplog.set_level(logging.DEBUG)
    home, stranger = tmp_path / "server", Stranger(settings)
    with running_server(home) as (server, process):
        own = settings.model_copy(update={"postgres_dsn": SecretStr(server.dsn), "live_dsn": SecretStr(server.bi_dsn)})
        GoldTopics(own).publish(GOLD_CUSTOMER_VALUE, [customer(CUSTOMER, 1)])
        send_what_is_no_row(stranger)
        stranger.flush()
        with serving(own), page_server(own):
            wait_until_served(own)
            reasons = [reason for (reason,) in ask(own, "SELECT reason FROM sink.rejected")]
            assert len(reasons) == stranger.sent
            ask(
                own,
                "UPDATE gold.customer_value SET orders = 1, revenue = 'NaN', last_purchase_at = 'infinity' RETURNING 1",
            )
            # The server ends the connection, and then itself, while rows of the customer are on their way.
            with psycopg.connect(server.superuser_dsn(DATABASE)) as superuser:
                superuser.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                )
            GoldTopics(own).publish(GOLD_CUSTOMER_VALUE, [customer(CUSTOMER, 3)])
            wait_until_served(own)
            process.kill()
            process.wait()
            wait_for(lambda: read_state(own)["state"] == "waiting for PostgreSQL", "it does not say that it waits")
            page_log = own.logs / "live.log"
            wait_for(lambda: "cannot be read" in page_log.read_text(), "the page does not say that it waits")
        logged = server.output.read_text(encoding="utf-8", errors="replace")
    said = [
        *(record.getMessage() for record in caplog.records),
        json.dumps(read_state(own)),
        page_log.read_text(),
        logged,
    ]
    said += reasons  # of which the log has one for each batch
    assert any("set aside" in each for each in said) and "terminating connection" in logged
    assert [each for each in said if str(CUSTOMER) in each or SESSION in each] == []
