"""Who may do what in the embedded PostgreSQL. Run at each start: a server of an earlier version comes to the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from psycopg import Connection, sql

from serving.reader import BI, limit_reader
from serving.store import VIEWS_SCHEMA

BOOTSTRAP = "lakehouse"
"""Of initdb, and a superuser. In homes of earlier versions it also owned what is served."""
OWNER = "sink"
"""Owns the database and what is served in it, and may do nothing beyond it."""
PAGE = "live"
"""The live page's: it reads what `bi` may, and does not share its limits."""
ROLES = (BOOTSTRAP, OWNER, BI, PAGE)

_PAGE_CONNECTIONS = 10
_SEARCH_PATH = (VIEWS_SCHEMA, "gold")
_SILENT = {"log_min_messages": "fatal"}
"""Who makes a mistake is told so; the server's log has no place for it: it would hold customers, and grow at will."""

_NOT_FOR_ALL = """
SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
AND (proname ~ '^lo_|^pg_(try_)?advisory_' OR proname IN ('loread', 'lowrite', 'pg_logical_emit_message'))"""
"""What lets a reader keep data in the server, hold locks that others wait for, or write its log."""

Connect = Callable[[str], Connection[Any]]
"""As BOOTSTRAP, to a database by its name."""


def settle_roles(connect: Connect, passwords: Mapping[str, str]) -> None:
    """Roles with these passwords, by their names; what each may do in general, and how much."""
    with connect("postgres") as connection:
        for role, password in passwords.items():
            if role != BOOTSTRAP:
                _make(connection, role, password)
        for role in (OWNER, PAGE, BI):
            _set(connection, role, _SILENT)
        _execute(connection, "GRANT {} TO {}", BI, PAGE)
        _execute(connection, f"ALTER ROLE {{}} CONNECTION LIMIT {_PAGE_CONNECTIONS}", PAGE)
        _execute(connection, "COMMENT ON ROLE {} IS 'Reads the storefront lakehouse. Kept by its server.'", BI)
        limit_reader(connection)
        for database in ("postgres", "template1"):
            _execute(connection, "REVOKE ALL ON DATABASE {} FROM PUBLIC", database)


def settle_database(connect: Connect, name: str) -> None:
    """A database of OWNER's, in which readers read. What BOOTSTRAP had of it becomes OWNER's."""
    with connect("postgres") as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
            _execute(connection, "CREATE DATABASE {}", name)
        _execute(connection, "ALTER DATABASE {} OWNER TO {}", name, OWNER)
        _execute(connection, "REVOKE ALL ON DATABASE {} FROM PUBLIC", name)
        _execute(connection, "GRANT CONNECT ON DATABASE {} TO {}", name, PAGE)
        _execute(connection, "GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}", name, BI)
        path = sql.SQL(", ").join(map(sql.Identifier, _SEARCH_PATH))
        for role in (BI, PAGE):
            statement = sql.SQL("ALTER ROLE {} IN DATABASE {} SET search_path = {}")
            connection.execute(statement.format(sql.Identifier(role), sql.Identifier(name), path))
    with connect(name) as connection, connection.transaction():
        for (function,) in connection.execute(_NOT_FOR_ALL).fetchall():
            connection.execute(sql.SQL("REVOKE EXECUTE ON FUNCTION {} FROM PUBLIC").format(sql.SQL(function)))
        _hand_over(connection)


def _make(connection: Connection[Any], role: str, password: str) -> None:
    if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
        _execute(connection, "CREATE ROLE {}", role)
    secret = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
    rights = "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
    statement = sql.SQL(f"ALTER ROLE {{}} {rights} PASSWORD {{}}")
    connection.execute(statement.format(sql.Identifier(role), sql.Literal(secret)))


def _set(connection: Connection[Any], role: str, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        statement = sql.SQL("ALTER ROLE {} SET {} = {}")
        connection.execute(statement.format(sql.Identifier(role), sql.Identifier(name), sql.Literal(value)))


def _hand_over(connection: Connection[Any]) -> None:
    """`REASSIGN OWNED` does not do it for a role that initdb has made."""
    beyond_the_servers = "NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND {}owner = %s::regrole"
    found = connection.execute(
        f"""SELECT 'SCHEMA', quote_ident(nspname) FROM pg_namespace WHERE nspname {beyond_the_servers.format("nsp")}
            UNION ALL SELECT 'TABLE', pg_class.oid::regclass::text
            FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND nspname {beyond_the_servers.format("rel")}
            UNION ALL SELECT 'ROUTINE', pg_proc.oid::regprocedure::text
            FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
            WHERE nspname {beyond_the_servers.format("pro")}""",
        [BOOTSTRAP] * 3,
    )
    for kind, name in found.fetchall():
        _execute(connection, f"ALTER {kind} {name} OWNER TO {{}}", OWNER)


def _execute(connection: Connection[Any], statement: str, *names: str) -> None:
    connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
