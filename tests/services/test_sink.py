"""The sink against real Kafka and PostgreSQL: the newest revision of each key, once, whatever happens on the way."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from pydantic import SecretStr

from lakehouse.kafka_access import for_librdkafka
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_CUSTOMER_VALUE, GOLD_ORDERS, GOLD_PRODUCT_SALES, GOLD_PRODUCTS
from lakehouse.topics import GoldTopics
from operate.services.kafka import KafkaBroker
from operate.services.postgres import PostgresServer
from operate.services.topics import ensure_topics
from serving.state import read_state
from tests.builders import HOSTILE
from tests.chaos.small_disk import SmallDisk
from tests.gold_rows import AT, NOW, customer, order, product, sale
from tests.postgres_server import database_in, running_server
from tests.services.runs import ROOT
from tests.services.sinks import serving, wait_for, wait_until_served
from tests.services.store import own_name, store_in


@pytest.fixture
def settings(kafka_broker: KafkaBroker, postgres: PostgresServer, tmp_path: Path) -> Settings:
    """Topics and a database of this test's own."""
    dsn = SecretStr(database_in(postgres, own_name(tmp_path)))
    return store_in(kafka_broker, tmp_path).model_copy(update={"postgres_dsn": dsn})


def ask(settings: Settings, query: str) -> list[tuple]:
    with psycopg.connect(settings.postgres_dsn.get_secret_value()) as connection:
        return connection.execute(query).fetchall()  # type: ignore[arg-type]


def test_the_highest_revision_is_served_and_what_was_withdrawn_stays_away(settings: Settings) -> None:
    topics = GoldTopics(settings)
    with serving(settings):
        topics.publish(GOLD_CUSTOMER_VALUE, [customer(1, 2), customer(1, 1), customer(2, 1), customer(3, 1)])
        topics.withdraw(GOLD_CUSTOMER_VALUE, [(2,), (3,)], 5)
        wait_until_served(settings)
        # Each in a batch of its own: what came before is in the table, not in the batch.
        topics.publish(GOLD_CUSTOMER_VALUE, [customer(1, 1), customer(2, 4), customer(3, 6)])
        wait_until_served(settings)
        topics.withdraw(GOLD_CUSTOMER_VALUE, [(3,)], 5)
        wait_until_served(settings)
    found = ask(settings, "SELECT user_id, revision, revenue, updated_at, row->>'revision' FROM gold.customer_value")
    assert sorted(found) == [(1, 2, Decimal("2.00"), NOW, "2"), (3, 6, Decimal("6.00"), NOW, "6")]
    assert read_state(settings)["state"] == "stopped"


def test_text_is_data_whatever_it_says(settings: Settings) -> None:
    GoldTopics(settings).publish(GOLD_PRODUCTS, [product(number, brand) for number, brand in enumerate(HOSTILE)])
    with serving(settings):
        wait_until_served(settings)
    brands = dict(ask(settings, "SELECT product_id, brand FROM gold.products"))
    assert brands == {number: brand.replace("\0", "\ufffd") for number, brand in enumerate(HOSTILE)}
    assert ask(settings, "SELECT DISTINCT category_id FROM gold.products") == [(2**53 + 1,)]
    by_document = f'SELECT count(*) FROM gold.products WHERE row @> \'{{"brand": "{HOSTILE[0]}"}}\''
    assert ask(settings, by_document) == [(1,)]


def test_an_order_is_served_with_its_lines(settings: Settings) -> None:
    GoldTopics(settings).publish(GOLD_ORDERS, [order("o", AT, 7)])
    with serving(settings):
        wait_until_served(settings)
    wanted = (
        """SELECT order_id FROM gold.orders WHERE row @> '{"lines": [{"product_id": 7, "extras": {"coupon": "B"}}]}'"""
    )
    assert ask(settings, wanted) == [("o",)]
    assert ask(settings, "SELECT lines->0->>'price', ordered_on FROM gold.orders") == [("2.50", AT.date())]


def test_a_row_that_is_larger_than_a_record_may_be_is_said_and_stops_nothing(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    topics = GoldTopics(settings)
    topics.publish(GOLD_PRODUCTS, [product(1, "a"), product(2, "b" * 9_000_000), product(3, "c")])
    topics.publish(GOLD_PRODUCTS, [product(4, "d")])
    assert [record.message for record in caplog.records] == [
        f"{GOLD_PRODUCTS.topic(settings)}: the row of b'2' is larger than a record may be, and is not published"
    ]
    with serving(settings):
        wait_until_served(settings)
    assert sorted(ask(settings, "SELECT product_id FROM gold.products")) == [(1,), (3,), (4,)]


def test_a_topic_that_is_made_anew_is_read_from_its_beginning(settings: Settings) -> None:
    GoldTopics(settings).publish(GOLD_CUSTOMER_VALUE, [customer(number, 9) for number in range(5)])
    with serving(settings):
        wait_until_served(settings)
    admin = AdminClient(for_librdkafka(settings))
    topic = GOLD_CUSTOMER_VALUE.topic(settings)
    admin.delete_topics([topic])[topic].result()
    wait_for(lambda: topic not in admin.list_topics(timeout=5).topics, "the topic is still there")
    ensure_topics(settings)
    GoldTopics(settings).publish(GOLD_CUSTOMER_VALUE, [customer(7, 1)])
    with serving(settings):
        wait_until_served(settings)
    assert ask(settings, "SELECT user_id, revision FROM gold.customer_value") == [(7, 1)]


def test_the_bi_role_reads_and_nothing_else(settings: Settings, postgres: PostgresServer) -> None:
    GoldTopics(settings).publish(GOLD_CUSTOMER_VALUE, [customer(1, 1)])
    with serving(settings):
        wait_until_served(settings)
    owner = psycopg.conninfo.conninfo_to_dict(settings.postgres_dsn.get_secret_value())
    place = {name: owner[name] for name in ("host", "port", "dbname")} | {"user": "bi"}
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(**place, password="")  # type: ignore[arg-type]
    with psycopg.connect(**place, password=postgres.bi_password, autocommit=True) as bi:  # type: ignore[arg-type]
        assert bi.execute("SELECT user_id, segment FROM customers").fetchall()[0][0] == 1
        bi.execute("CREATE TEMP TABLE mine AS SELECT * FROM top_customers")  # as Tableau does
        for statement in (
            "INSERT INTO gold.customer_value (key, row) VALUES ('x', '{}')",
            "UPDATE gold.customer_value SET revenue = 0",
            "DELETE FROM gold.customer_value",
            "TRUNCATE gold.customer_value",
            "DROP TABLE gold.customer_value",
            "CREATE TABLE public.mine (a int)",
            "CREATE TABLE gold.mine (a int)",
            "DROP VIEW customers",
            "SELECT * FROM sink.offsets",
            "COPY gold.customer_value TO PROGRAM 'true'",
            "CREATE ROLE other",
        ):
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidSchemaName)):
                bi.execute(statement)  # type: ignore[arg-type]


def test_it_waits_for_postgres_and_says_so(settings: Settings, tmp_path: Path) -> None:
    topics = GoldTopics(settings)
    home = tmp_path / "server"
    with running_server(home) as (server, process):
        settings = settings.model_copy(update={"postgres_dsn": SecretStr(server.dsn)})
        with serving(settings):
            topics.publish(GOLD_CUSTOMER_VALUE, [customer(number, 1) for number in range(100)])
            wait_until_served(settings)
            process.kill()
            process.wait()
            wait_for(lambda: read_state(settings)["state"] == "waiting for PostgreSQL", "it has to be given a record")
            assert read_state(settings)["reason"]
            topics.publish(GOLD_CUSTOMER_VALUE, [customer(number, 2) for number in range(50, 150)])
            with running_server(home):
                wait_until_served(settings)
                found = dict(ask(settings, "SELECT user_id, revision FROM gold.customer_value"))
                assert found == {number: 1 if number < 50 else 2 for number in range(150)}
                wait_for(lambda: read_state(settings)["state"] == "serving", "it serves again and does not say so")


def test_a_full_disk_under_postgres_is_waited_for_and_nothing_is_lost(settings: Settings, tmp_path: Path) -> None:
    topics = GoldTopics(settings)
    with ExitStack() as at_end:
        try:
            disk = SmallDisk(tmp_path / "small", 200)
        except OSError as error:
            pytest.skip(f"no small disk to fill: {error.strerror}")
        at_end.callback(disk.unmount)
        home = disk.folder / "home"
        server, process = at_end.enter_context(running_server(home))
        settings = settings.model_copy(update={"postgres_dsn": SecretStr(server.dsn)})
        at_end.enter_context(serving(settings))
        topics.publish(GOLD_CUSTOMER_VALUE, [customer(number, 1) for number in range(100)])
        wait_until_served(settings)
        disk.fill()
        topics.publish(GOLD_CUSTOMER_VALUE, [customer(number, 2) for number in range(20_000)])
        wait_for(lambda: read_state(settings)["state"] == "waiting for PostgreSQL", "it does not say so")
        assert "space" in read_state(settings)["reason"]
        disk.free()
        if process.poll() is not None:  # no room for its log: it ends, and its supervisor starts it again
            at_end.enter_context(running_server(home))
        wait_until_served(settings)
        assert ask(settings, "SELECT count(*), min(revision) FROM gold.customer_value") == [(20_000, 2)]


# Six kills, each followed by a start.
def test_two_instances_killed_at_random_serve_each_row_once(settings: Settings) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    draw, topics = random.Random(seed), GoldTopics(settings)

    def instance(name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "serving.sink", "--name", name]
        return subprocess.Popen(
            command, cwd=ROOT, env=os.environ | settings.as_environment(), stderr=subprocess.DEVNULL
        )

    running = {name: instance(name) for name in ("1", "2")}
    wanted: dict[int, int] = {}
    try:
        for round_ in range(1, 7):
            rows = [customer(draw.randrange(3000), round_) for _ in range(1500)]
            topics.publish(GOLD_CUSTOMER_VALUE, rows)
            wanted |= {row["user_id"]: round_ for row in rows}
            time.sleep(draw.uniform(0.0, 1.5))  # a random moment
            name = draw.choice(["1", "2"])
            running[name].kill()
            running[name].wait()
            running[name] = instance(name)
        wait_until_served(settings)
        assert dict(ask(settings, "SELECT user_id, revision FROM gold.customer_value")) == wanted
        for name, process in running.items():  # one that starts would end by the signal
            wait_for(lambda: read_state(settings, name).get("pid") == process.pid, f"{name} does not run")  # noqa: B023
    finally:
        for process in running.values():
            process.terminate()
            assert process.wait(120) == 0


def test_views_show_what_is_now_by_the_store_clock(settings: Settings) -> None:
    topics = GoldTopics(settings)
    sales = [sale(1, AT, "1.00"), sale(1, AT.replace(minute=30), "2.00", units=2)]
    topics.publish(GOLD_PRODUCT_SALES, sales)
    topics.publish(GOLD_PRODUCTS, [product(1, "runail", last_event_at=AT.replace(hour=1, minute=15))])
    refunds_only = {"orders": 0, "revenue": Decimal(0), "first_purchase_at": None, "last_purchase_at": None}
    bought = {1: (1, 20), 2: (12, 600), 3: (3, 90)}
    rows = [customer(user, 1, orders=orders, revenue=Decimal(usd)) for user, (orders, usd) in bought.items()]
    topics.publish(GOLD_CUSTOMER_VALUE, [*rows, customer(4, 1, **refunds_only)])
    with serving(settings):
        wait_until_served(settings)
    assert ask(settings, "SELECT now_at, is_live FROM storefront.store_clock") == [
        (AT.replace(hour=1, minute=15), False)
    ]
    assert ask(settings, "SELECT units FROM storefront.sales_last_hour") == [(2,)]
    by_product = ask(settings, "SELECT brand, units, revenue FROM storefront.sales_by_product")
    assert by_product == [("runail", 3, Decimal("3.00"))]
    segments = dict(ask(settings, "SELECT user_id, segment FROM storefront.customers"))
    assert segments == {1: "new", 2: "champion", 3: "loyal", 4: "refunds only"}
    assert [row[0] for row in ask(settings, "SELECT user_id FROM storefront.top_customers")] == [2, 3, 1, 4]
