"""What the live page's server gives away, to whom, and that it can only read. Without a browser."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import psycopg
import pytest

from lakehouse.settings import Settings
from lakehouse.tables import GOLD_PRODUCTS
from lakehouse.topics import GoldTopics
from operate.services.kafka import KafkaBroker
from operate.services.postgres import PostgresServer
from serving.live.access import token_of
from serving.server import connect_reader
from tests.gold_rows import product
from tests.services.pages import page_server, shop_in
from tests.services.sinks import serving, wait_for, wait_until_served


@pytest.fixture(scope="module")
def shop(
    kafka_broker: KafkaBroker, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """A store that knows one product, and its page; what is asked here changes neither."""
    settings = shop_in(kafka_broker, postgres, tmp_path_factory.mktemp("shop"))
    GoldTopics(settings).publish(GOLD_PRODUCTS, [product(1, "runail")])
    with serving(settings):
        wait_until_served(settings)
        with page_server(settings) as process:
            listening = [each.laddr.ip for each in psutil.Process(process.pid).net_connections() if not each.raddr]
            assert listening == ["127.0.0.1"]
            yield settings


def answer(
    settings: Settings, path: str, method: str = "GET", headers: Mapping[str, str] | None = None
) -> tuple[int, http.client.HTTPMessage, bytes]:
    """Of the path as it stands, which a tidier client would shorten. A stream is not read."""
    connection = http.client.HTTPConnection("127.0.0.1", settings.live_port, timeout=20)
    try:
        who = {"Authorization": f"Bearer {token_of(settings)}"}
        connection.request(method, path, headers=who | dict(headers or {}))
        found = connection.getresponse()
        return found.status, found.headers, b"" if path == "/events" else found.read()
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/events", 200),
        ("/state", 200),
        ("/alive", 200),
        ("/static/page.js", 200),
        ("/products/1", 200),
        ("/products/2", 404),
        (f"/products/{2**63}", 404),
        ("/products/" + "9" * 5000, 404),
        ("/products/-1", 404),
        ("/products/abc", 404),
        ("/products/1;drop table gold.orders", 404),
        ("/products/1%20or%201=1", 404),
        ("/products/%D9%A1", 404),
        ("/static/../web.py", 404),
        ("/static/..%2fweb.py", 404),
        ("/static/%2e%2e/%2e%2e/__init__.py", 404),
        ("/static//etc/passwd", 404),
        ("/static/", 404),
        ("/nowhere", 404),
    ],
    ids=lambda value: str(value)[:40],
)
def test_it_answers_what_it_has_and_guards_every_answer(shop: Settings, path: str, status: int) -> None:
    found, headers, body = answer(shop, path.replace(" ", "%20"))
    assert found == status, body
    assert (b"def " in body, b"root:" in body) == (False, False)
    policy = dict(each.strip().split(" ", 1) for each in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers and "access-control-allow-origin" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_there_is_nothing_to_send_it(shop: Settings, method: str) -> None:
    for path in ("/", "/events", "/products/1", "/state", "/static/page.js"):
        status, headers, _ = answer(shop, path, method)
        assert status == 405, path
        assert headers["content-security-policy"]


@pytest.mark.parametrize(("host", "status"), [("evil.example", 400), ("localhost", 200), ("127.0.0.1:80", 200)])
def test_a_page_elsewhere_whose_name_leads_here_learns_nothing(shop: Settings, host: str, status: int) -> None:
    """A browser that was led astray sends the other's name (DNS rebinding)."""
    for path in ("/", "/events", "/products/1", "/state"):
        found, headers, body = answer(shop, path, headers={"Host": host})
        assert (found, b"runail" in body) == (status, status == 200 and path == "/products/1")
        assert headers["content-security-policy"]


def test_it_is_connected_as_the_role_that_reads(shop: Settings) -> None:
    with psycopg.connect(shop.postgres_dsn.get_secret_value()) as owner:
        found = owner.execute(
            """SELECT DISTINCT usename FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'lakehouse live'"""
        ).fetchall()
    assert found == [("bi",)]


@pytest.mark.parametrize("role", ["bi", "owner"])
@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO gold.products (key, row) VALUES ('x', '{}')",
        "UPDATE gold.products SET brand = 'mine'",
        "DELETE FROM gold.products",
        "CREATE TABLE public.mine (a int)",
        "DROP VIEW storefront.customers",
    ],
)
def test_its_connection_cannot_write_whatever_the_role_may_do(shop: Settings, role: str, statement: str) -> None:
    dsn = {"bi": shop.live_dsn, "owner": shop.postgres_dsn}[role].get_secret_value()
    with pytest.raises((psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.InsufficientPrivilege)) as refused:
        asyncio.run(_say(dsn, statement))
    assert role == "bi" or isinstance(refused.value, psycopg.errors.ReadOnlySqlTransaction)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        asyncio.run(_say(shop.live_dsn.get_secret_value(), "SET default_transaction_read_only = off", statement))


async def _say(dsn: str, *statements: str) -> None:
    """As the page is connected."""
    async with await connect_reader(dsn, 5.0) as store:
        for statement in statements:
            await store.execute(statement)


def test_a_program_that_watches_it_is_told_how_it_is(shop: Settings) -> None:
    def told() -> dict[str, object]:
        return dict(json.loads(answer(shop, "/state")[2]))

    wait_for(lambda: bool(told()["is_well"]), "it is not well")
    # Whoever has gone is not counted for long: each answer of the other tests' streams was left unread.
    wait_for(lambda: told()["browsers"] == 0, "it counts browsers that are gone")


def test_before_the_store_has_tables_it_answers_and_says_that_it_has_none(
    kafka_broker: KafkaBroker, postgres: PostgresServer, tmp_path: Path
) -> None:
    settings = shop_in(kafka_broker, postgres, tmp_path)
    with page_server(settings):
        status, _, body = answer(settings, "/products/1")
        assert (status, json.loads(body)) == (503, {"error": "the store does not answer"})
        state = json.loads(answer(settings, "/state")[2])
        assert not state["is_well"]
