"""A PostgreSQL that is not ours: the rights that docs/serving.md names and no more, beside other applications."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from lakehouse.errors import ServiceError
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_CUSTOMER_VALUE, PUBLISHED
from lakehouse.topics import GoldTopics
from operate.services.kafka import KafkaBroker
from operate.services.ports import free_port
from operate.services.postgres import PostgresServer
from serving.live import questions
from serving.merge import Incoming, merge
from serving.reader import as_reader
from serving.server import connect, connect_reader
from serving.state import read_state
from serving.store import VIEWS, prepare_store
from tests.gold_rows import customer
from tests.postgres_server import running_server
from tests.services.sinks import serving, wait_for, wait_until_served
from tests.services.store import store_in

LOGIN = """O'Brien "the" büro"""
BI_PASSWORD = """p@ss'w\\ord %41 :/ü"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with running_server(tmp_path_factory.mktemp("theirs")) as (server, _):
        yield server


@pytest.fixture
def theirs(server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    """The superuser of a server on which nobody has heard of us: its databases and roles are made anew."""
    with psycopg.connect(server.superuser_dsn("postgres"), autocommit=True) as connection:
        for role in ("live", "bi"):
            drop(connection, role)
        yield connection
        for name in ("served", "shop"):
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        for role in ("bi", "shop", "storefront", LOGIN):
            drop(connection, role)


def drop(superuser: psycopg.Connection[Any], role: str) -> None:
    if superuser.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone():
        superuser.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))


def as_superuser(server: PostgresServer, database: str) -> psycopg.Connection[Any]:
    return psycopg.connect(server.superuser_dsn(database), autocommit=True)


def prepared(theirs: psycopg.Connection[Any], login: str = "storefront", options: str = "") -> str:
    """A database, and a login with the rights that docs/serving.md names. Out: its dsn."""
    theirs.execute("DROP ROLE IF EXISTS bi")
    role = sql.Identifier(login)
    theirs.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD 'lake'").format(role))
    theirs.execute(sql.SQL("CREATE DATABASE served {}").format(sql.SQL(options)))  # type: ignore[arg-type]
    theirs.execute(sql.SQL("GRANT CREATE, CONNECT, TEMPORARY ON DATABASE served TO {}").format(role))
    return make_conninfo(host=theirs.info.host, port=theirs.info.port, dbname="served", user=login, password="lake")


def settings_of(dsn: str, bi_password: str = "b1") -> Settings:
    return Settings(postgres_dsn=SecretStr(dsn), bi_password=SecretStr(bi_password), _env_file=None)


def prepare(dsn: str, bi_password: str = "b1") -> None:
    with connect(dsn, "sink") as connection:
        prepare_store(connection, bi_password)


def read_as_bi(dsn: str, query: str, bi_password: str = "b1") -> list[tuple[Any, ...]]:
    with psycopg.connect(as_reader(settings_of(dsn, bi_password))) as connection:
        return connection.execute(query).fetchall()  # type: ignore[arg-type]


def read_all_as_bi(dsn: str, bi_password: str = "b1") -> None:
    for relation in (*VIEWS, *(table.name for table in PUBLISHED), *(view.split(".")[1] for view in VIEWS)):
        read_as_bi(dsn, f"SELECT * FROM {relation}", bi_password)


def test_the_rights_that_the_docs_name_are_enough(theirs: psycopg.Connection[Any], kafka_broker, tmp_path) -> None:
    dsn = prepared(theirs)
    settings = store_in(kafka_broker, tmp_path).model_copy(
        update={"postgres_dsn": SecretStr(dsn), "bi_password": SecretStr("b1")}
    )
    GoldTopics(settings).publish(GOLD_CUSTOMER_VALUE, [customer(1, 1)])
    with serving(settings):
        wait_until_served(settings)
    read_all_as_bi(dsn)
    assert read_as_bi(dsn, "SELECT user_id FROM customers") == [(1,)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        read_as_bi(dsn, "SELECT * FROM sink.offsets")


@pytest.mark.parametrize(
    "search_path", ['"$user", public', "", "shop, pg_temp, storefront", "pg_temp, shop", "missing", "shop, pg_catalog"]
)
def test_what_the_search_path_leads_to_is_left_alone(
    theirs: psycopg.Connection[Any], server: PostgresServer, search_path: str
) -> None:
    """Another application has relations with the names of ours, also of the temporary one."""
    dsn = prepared(theirs)
    names = [*(view.split(".")[1] for view in VIEWS), "incoming"]
    with as_superuser(server, "served") as shop:
        for schema in ("shop", "public"):
            shop.execute(f"CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION storefront")
            for name in names:
                shop.execute(f"CREATE TABLE {schema}.{name} AS SELECT 'theirs' AS key")
                shop.execute(f"ALTER TABLE {schema}.{name} OWNER TO storefront")
        shop.execute(f"ALTER ROLE storefront SET search_path = {search_path or chr(39) * 2}")
    with connect(dsn, "sink") as connection:
        prepare_store(connection, "b1")
        record = Incoming(("t", 0), 0, "1", 1, '{"user_id": 1, "orders": 0, "revision": 1}')
        with connection.transaction():
            merge(connection, GOLD_CUSTOMER_VALUE, [record], "t")
        assert connection.execute("SELECT user_id FROM storefront.customers").fetchall() == [(1,)]
        for name in names:
            assert connection.execute(f"SELECT key FROM shop.{name}").fetchall() == [("theirs",)], name
    read_all_as_bi(dsn)


@pytest.mark.parametrize("owner", ["shop", "storefront"])
def test_the_reader_reads_nothing_of_another_application(
    theirs: psycopg.Connection[Any], server: PostgresServer, owner: str
) -> None:
    """Neither of another role's tables nor of those that belong to the login itself."""
    dsn = prepared(theirs)
    theirs.execute("CREATE ROLE shop LOGIN")
    with as_superuser(server, "served") as shop:
        for name in ("public.users", "public.customers", "gold.secrets"):
            shop.execute(f"CREATE SCHEMA IF NOT EXISTS {name.split('.')[0]} AUTHORIZATION storefront")
            shop.execute(f"CREATE TABLE {name} (password_hash text)")
            shop.execute(f"ALTER TABLE {name} OWNER TO {owner}")
    prepare(dsn)
    read_all_as_bi(dsn)
    for name in ("public.users", "public.customers", "gold.secrets"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            read_as_bi(dsn, f"SELECT * FROM {name}")


def test_a_schema_with_the_name_of_the_user_changes_nothing(
    theirs: psycopg.Connection[Any], server: PostgresServer
) -> None:
    dsn = prepared(theirs)
    with as_superuser(server, "served") as superuser:
        superuser.execute("CREATE SCHEMA storefront AUTHORIZATION storefront")
    prepare(dsn)
    read_all_as_bi(dsn)


def test_names_and_passwords_hold_any_character_and_passwords_change(theirs: psycopg.Connection[Any]) -> None:
    dsn = prepared(theirs, login=LOGIN)
    prepare(dsn, BI_PASSWORD)
    read_all_as_bi(dsn, BI_PASSWORD)
    prepare(dsn, "another")
    read_all_as_bi(dsn, "another")
    with pytest.raises(psycopg.OperationalError, match="password"):
        read_as_bi(dsn, "SELECT 1", BI_PASSWORD)
    prepare(dsn, "")  # without the setting the role stays as it is
    read_all_as_bi(dsn, "another")


def test_a_role_that_somebody_else_has_made_keeps_its_password(theirs: psycopg.Connection[Any]) -> None:
    dsn = prepared(theirs)
    theirs.execute("CREATE ROLE bi LOGIN PASSWORD 'theirs'")
    prepare(dsn, "ours")
    assert read_as_bi(dsn, "SELECT * FROM storefront.customers", "theirs") == []
    with pytest.raises(psycopg.OperationalError, match="password"):
        read_as_bi(dsn, "SELECT 1", "ours")


def test_a_missing_right_is_said_and_waited_for(
    theirs: psycopg.Connection[Any], kafka_broker: KafkaBroker, tmp_path: Path
) -> None:
    dsn = prepared(theirs)
    theirs.execute("REVOKE CREATE ON DATABASE served FROM storefront")
    settings = store_in(kafka_broker, tmp_path).model_copy(update={"postgres_dsn": SecretStr(dsn)})
    GoldTopics(settings).publish(GOLD_CUSTOMER_VALUE, [customer(1, 1)])
    with serving(settings):
        wait_for(lambda: read_state(settings)["state"] == "waiting for PostgreSQL", "it does not say so")
        assert "permission denied for database served" in read_state(settings)["reason"]
        theirs.execute("GRANT CREATE ON DATABASE served TO storefront")
        wait_until_served(settings)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_cannot_hold_any_character_is_refused(
    theirs: psycopg.Connection[Any], encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = prepared(theirs, options=f"ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0")
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with pytest.raises(ServiceError, match=f"keeps text as {encoding}"):
        prepare(dsn)


def test_a_store_of_before_leaves_public(theirs: psycopg.Connection[Any], server: PostgresServer) -> None:
    """Its views move, what is built on them stays, and the reader may no more read what is not ours."""
    dsn = prepared(theirs)
    prepare(dsn)
    with as_superuser(server, "served") as superuser:
        for view in VIEWS:
            superuser.execute(f"ALTER VIEW {view} SET SCHEMA public")  # type: ignore[arg-type]
        superuser.execute("ALTER FUNCTION storefront.store_now() SET SCHEMA public; DROP SCHEMA storefront")
        superuser.execute("CREATE VIEW public.mine AS SELECT user_id FROM public.top_customers")
        superuser.execute(
            "CREATE TABLE public.users (password_hash text); ALTER TABLE public.users OWNER TO storefront"
        )
        superuser.execute("SET ROLE storefront; GRANT SELECT ON public.users TO bi; RESET ROLE")
        superuser.execute("UPDATE sink.layout SET digest = 'of before'")
    assert read_as_bi(dsn, "SELECT * FROM public.users") == []
    prepare(dsn)
    read_all_as_bi(dsn)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        read_as_bi(dsn, "SELECT * FROM public.users")
    with as_superuser(server, "served") as superuser:
        assert superuser.execute("SELECT * FROM public.mine").fetchall() == []


@contextmanager
def pool(dsn: str, mode: str, folder: Path) -> Iterator[str]:
    """PgBouncer before a server. Out: how to connect through it."""
    if not (program := shutil.which("pgbouncer")):
        pytest.skip("no pgbouncer")
    given, port, config = conninfo_to_dict(dsn), free_port(set()), folder / "pgbouncer.ini"
    config.write_text(
        f"""[databases]
        served = host={given["host"]} port={given["port"]}
        [pgbouncer]
        listen_addr = 127.0.0.1
        listen_port = {port}
        unix_socket_dir =
        auth_type = plain
        auth_file = {folder / "users.txt"}
        pool_mode = {mode}
        default_pool_size = 3
        """.replace("        ", "")
    )
    (folder / "users.txt").write_text('"storefront" "lake"\n"bi" "b1"\n')
    folder.chmod(0o755)
    command = [program, "-q", *(["-u", "nobody"] if os.geteuid() == 0 else []), str(config)]
    process = subprocess.Popen(command, cwd="/")
    try:
        through = make_conninfo(dsn, port=port)

        def answers() -> bool:
            try:
                psycopg.connect(through, connect_timeout=2).close()
            except psycopg.OperationalError:
                return False
            return True

        wait_for(answers, "PgBouncer does not answer", 30)
        yield through
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_the_sink_serves_through_a_pool_and_the_page_says_which_it_needs(
    theirs: psycopg.Connection[Any], kafka_broker: KafkaBroker, tmp_path: Path, mode: str
) -> None:
    async def clock(reader: str) -> questions.Clock | None:
        async with await connect_reader(reader, 5.0) as store:
            return await questions.clock(store)

    with pool(prepared(theirs), mode, tmp_path) as dsn:
        settings = store_in(kafka_broker, tmp_path).model_copy(
            update={"postgres_dsn": SecretStr(dsn), "bi_password": SecretStr("b1")}
        )
        with serving(settings):
            for revision in range(1, 9):  # what is asked again and again would be prepared
                GoldTopics(settings).publish(GOLD_CUSTOMER_VALUE, [customer(1, revision)])
                wait_until_served(settings)
            assert read_as_bi(dsn, "SELECT revision FROM gold.customer_value") == [(8,)]
            if mode == "session":
                assert asyncio.run(clock(as_reader(settings))) is None
            else:
                with pytest.raises(ServiceError, match="pool in session mode"):
                    asyncio.run(clock(as_reader(settings)))
        assert read_as_bi(dsn, "SHOW default_transaction_read_only") == [("off",)]
