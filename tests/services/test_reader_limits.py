"""Whoever has the password of `bi` can ask, and cannot stop the sink, whatever else he tries."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from lakehouse.settings import Settings
from lakehouse.tables import GOLD_CUSTOMER_VALUE
from lakehouse.topics import GoldTopics
from operate.services.kafka import KafkaBroker
from operate.services.postgres import PostgresServer
from tests.gold_rows import customer
from tests.postgres_server import running_server
from tests.services.sinks import serving, wait_for, wait_until_served
from tests.services.store import store_in

WITHIN_S = 5.0

Attack = Callable[[PostgresServer, ExitStack], None]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """Its own: others would feel what is done to it."""
    with running_server(tmp_path_factory.mktemp("attacked")) as (server, _):
        yield server


def as_bi(server: PostgresServer) -> psycopg.Connection[Any]:
    return psycopg.connect(server.bi_dsn, autocommit=True)


@contextmanager
def again_and_again(server: PostgresServer, statement: str, first: str = "SELECT 1") -> Iterator[None]:
    """In three sessions, until the block ends."""
    over = threading.Event()

    def attack() -> None:
        with suppress(psycopg.Error), as_bi(server) as bi:
            bi.execute(first)  # type: ignore[arg-type]
            while not over.is_set():
                with suppress(psycopg.errors.ProgramLimitExceeded):
                    bi.execute(statement)  # type: ignore[arg-type]

    threads = [threading.Thread(target=attack) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        with psycopg.connect(server.superuser_dsn("postgres"), autocommit=True) as superuser:
            superuser.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'bi'")
        for thread in threads:
            thread.join(30)


def connect_a_hundred_times(server: PostgresServer, until_done: ExitStack) -> None:
    mine = 0
    with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
        for _ in range(100):
            until_done.enter_context(as_bi(server))
            mine += 1
    assert mine == 15
    with psycopg.connect(server.page_dsn) as page:
        assert page.execute("SELECT count(*) >= 0 FROM customers").fetchone() == (True,)


def flood_with_notices(server: PostgresServer, until_done: ExitStack) -> None:
    """And keep a listener from reading them, so that the queue fills."""
    deaf = as_bi(server)
    until_done.callback(deaf.close)
    deaf.execute("LISTEN gold_changed; BEGIN; SELECT 1")
    lot = "SELECT pg_notify('gold_changed', i || repeat('x', 7900)) FROM generate_series(1, 500) AS i"
    until_done.enter_context(again_and_again(server, lot))


def sleep_for_ever(server: PostgresServer, until_done: ExitStack) -> None:
    until_done.enter_context(again_and_again(server, "SELECT pg_sleep(3600)", "SET statement_timeout = 0"))


def sort_without_end(server: PostgresServer, until_done: ExitStack) -> None:
    sort = "SELECT count(*) FROM (SELECT md5(i::text) FROM generate_series(1, 2000000) AS i ORDER BY 1 OFFSET 1) AS s"
    until_done.enter_context(again_and_again(server, sort))


def hold_every_table(server: PostgresServer, until_done: ExitStack) -> None:
    bi = until_done.enter_context(as_bi(server))
    bi.execute("BEGIN; LOCK TABLE gold.customer_value, gold.orders, storefront.customers IN ACCESS SHARE MODE")


def fail_in_large(server: PostgresServer, until_done: ExitStack) -> None:
    bi, before = until_done.enter_context(as_bi(server)), server.output.stat().st_size
    for _ in range(30):
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            bi.execute(f"SELECT '{'secret' * 100_000}'::int")  # type: ignore[arg-type]
    assert server.output.stat().st_size - before < 100_000 and "secret" not in server.output.read_text()


@pytest.mark.parametrize(
    "attack",
    [
        connect_a_hundred_times,
        flood_with_notices,
        sleep_for_ever,
        sort_without_end,
        hold_every_table,
        fail_in_large,
    ],
    ids=lambda attack: attack.__name__,
)
def test_the_sink_serves_within_seconds_while(
    attack: Attack, server: PostgresServer, kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    settings = store_in(kafka_broker, tmp_path).model_copy(update={"postgres_dsn": SecretStr(server.dsn)})
    topics = GoldTopics(settings)
    with serving(settings):
        wait_until_served(settings)
    with ExitStack() as until_done:
        attack(server, until_done)
        with serving(settings):  # one that starts meanwhile
            wait_for(lambda: is_served(settings), "not served")
            topics.publish(GOLD_CUSTOMER_VALUE, [customer(number, 1) for number in range(1000)])
            began_s = time.monotonic()
            wait_for(lambda: is_served(settings), "not served")
            assert time.monotonic() - began_s < WITHIN_S


def is_served(settings: Settings) -> bool:
    wait_until_served(settings)
    return True


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT pg_advisory_lock(7305214901)",
        "SELECT pg_try_advisory_xact_lock_shared(1, 2)",
        "SELECT lo_from_bytea(0, 'kept')",
        "SELECT lo_creat(-1)",
        "SELECT pg_logical_emit_message(false, 'a', repeat('x', 1000000))",
        "COPY (SELECT 1) TO '/tmp/x'",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "SELECT pg_read_file('/etc/passwd')",
        "SET temp_file_limit = -1",
        "SET log_min_messages = debug5",
        "ALTER ROLE bi CONNECTION LIMIT 100",
        "ALTER ROLE bi SET temp_file_limit = -1",
        "BEGIN; LOCK TABLE gold.orders IN ROW SHARE MODE",
        "BEGIN; LOCK TABLE sink.layout IN ACCESS SHARE MODE",
        "SELECT * FROM gold.orders FOR KEY SHARE",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'sink'",
        "SET ROLE live",
    ],
)
def test_a_reader_is_refused(server: PostgresServer, statement: str) -> None:
    with psycopg.connect(server.dsn, application_name="a sink's"), as_bi(server) as bi:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            bi.execute(statement)  # type: ignore[arg-type]
        for database in ("postgres", "template1"):
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                psycopg.connect(server.bi_dsn, dbname=database)


def test_a_sort_takes_so_much_of_the_disk_and_no_more(server: PostgresServer) -> None:
    with as_bi(server) as bi:
        assert bi.execute("SHOW temp_file_limit").fetchone() == ("2GB",)
        with psycopg.connect(server.superuser_dsn("postgres"), autocommit=True) as superuser:
            superuser.execute("ALTER ROLE bi SET temp_file_limit = '2MB'")
    try:
        with as_bi(server) as bi, pytest.raises(psycopg.errors.ConfigurationLimitExceeded):
            bi.execute("SET work_mem = '64kB'; SELECT md5(i::text) FROM generate_series(1, 200000) AS i ORDER BY 1")
    finally:
        with psycopg.connect(server.superuser_dsn("postgres"), autocommit=True) as superuser:
            superuser.execute("ALTER ROLE bi SET temp_file_limit = '2GB'")
