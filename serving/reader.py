"""The role that reads what is served: `bi`."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import Connection, sql
from psycopg.conninfo import make_conninfo

from lakehouse.settings import Settings
from serving.server import reliable

log = logging.getLogger("lakehouse")

BI = "bi"
_ROLE = sql.Identifier(BI)
_MOST_CONNECTIONS = 15
_LIMITS = {
    "statement_timeout": "5min",
    "idle_in_transaction_session_timeout": "10min",
    "lock_timeout": "30s",
    "temp_file_limit": "2GB",
}
"""Of the role. The number of its connections and the room for its sorts hold whatever it says, for a superuser sets
them; the times are what a session begins with.
"""
_OURS = "Reads the storefront lakehouse. Made by it."
"""The role's comment. A role of that name which somebody else has made keeps its password and its settings."""


def as_reader(settings: Settings) -> str:
    """How the role connects to the server that is given; empty without one, or without its password."""
    dsn, password = settings.postgres_dsn.get_secret_value(), settings.bi_password.get_secret_value()
    return make_conninfo(dsn, user=BI, password=password) if dsn and password else ""


def make_reader(connection: Connection[Any], password: str) -> None:
    """The role with this password, where there is none yet.

    :raises psycopg.errors.InsufficientPrivilege: whoever connects may make no roles.
    """
    if not _is_there(connection):
        statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
        with connection.transaction():
            connection.execute(statement.format(_ROLE, sql.Literal(_scrambled(connection, password))))
            connection.execute(sql.SQL("COMMENT ON ROLE {} IS {}").format(_ROLE, sql.Literal(_OURS)))


def limit_reader(connection: Connection[Any]) -> None:
    """What the role may take of the server, where that has no limit yet; as far as the rights of who connects go."""
    unlimited = "SELECT FROM pg_roles WHERE rolname = %s AND rolconnlimit = -1"
    if connection.execute(unlimited, [BI]).fetchone() is None:
        return
    connection.execute(sql.SQL(f"ALTER ROLE {{}} CONNECTION LIMIT {_MOST_CONNECTIONS}").format(_ROLE))
    for name, value in _LIMITS.items():
        limit = sql.SQL("ALTER ROLE {} SET {} = {}").format(_ROLE, sql.Identifier(name), sql.Literal(value))
        try:
            with connection.transaction():
                connection.execute(limit)
        except psycopg.errors.InsufficientPrivilege:
            log.warning("sink: %s of the role %s is for an administrator to set: docs/serving.md", name, BI)


def let_read(connection: Connection[Any], schemas: Iterable[str], relations: Iterable[str]) -> None:
    """The role, where it is there, may read these relations, and gets nothing else. Temporary tables are its own:
    Tableau makes them.
    """
    if not _is_there(connection):
        return
    names = sql.SQL(", ").join(sql.Identifier(*each.split(".")) for each in relations)
    connection.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(names, _ROLE))
    for schema in schemas:
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), _ROLE))


def take_back(connection: Connection[Any], relation: sql.Identifier) -> None:
    """What the role may do with a relation of ours."""
    if _is_there(connection):
        connection.execute(sql.SQL("REVOKE SELECT ON {} FROM {}").format(relation, _ROLE))


def set_up_reader(connection: Connection[Any], password: str, search_path: Iterable[str]) -> None:
    """Where we have made the role: it finds the views by their names alone, and it has this password, if one is given.

    Without the right to change it, it stays as it is, and that is said.
    """
    if not _is_ours(connection):
        return
    path = sql.SQL("ALTER ROLE {} IN DATABASE {} SET search_path = {}").format(
        _ROLE, sql.Identifier(connection.info.dbname), sql.SQL(", ").join(map(sql.Identifier, search_path))
    )
    try:
        connection.execute(path)
        limit_reader(connection)
        if password and not _accepts(connection, password):
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
            connection.execute(statement.format(_ROLE, sql.Literal(_scrambled(connection, password))))
            log.info("sink: the role %s has the password of LAKEHOUSE_BI_PASSWORD now", BI)
    except psycopg.errors.InsufficientPrivilege as error:
        log.warning("sink: the role %s stays as it is: %s", BI, error.diag.message_primary)


def _accepts(connection: Connection[Any], password: str) -> bool:
    try:
        psycopg.connect(reliable(connection.info.dsn), user=BI, password=password).close()
    except psycopg.OperationalError:
        return False
    return True


def _scrambled(connection: Connection[Any], password: str) -> str:
    """What the server keeps of a password: the password itself is in none of its logs."""
    encrypted = connection.pgconn.encrypt_password(password.encode(), BI.encode(), b"scram-sha-256")
    return encrypted.decode()


def _is_there(connection: Connection[Any]) -> bool:
    return connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [BI]).fetchone() is not None


def _is_ours(connection: Connection[Any]) -> bool:
    question = "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s"
    found = connection.execute(question, [BI]).fetchone()
    return found == (_OURS,)
