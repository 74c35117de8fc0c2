"""The PostgreSQL server that serves gold, ours or yours: how programs connect to it, and what it has to be."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.conninfo import make_conninfo

from lakehouse.errors import ServiceError

_OLDEST, _ANSWER_S = 130_000, 5.0

_QUOTES = ("22", "23", "P0")
"""Classes of SQLSTATE (bad data, a broken constraint, what a function says) of which a message quotes values."""


def without_values(error: Exception) -> str:
    """What an error says, for logs and states, which have no customer's data (docs/decisions/0008-forgetting.md)."""
    if isinstance(error, psycopg.Error) and error.sqlstate:
        said = error.diag.column_name if error.sqlstate.startswith(_QUOTES) else error.diag.message_primary
        return f"{said or type(error).__name__} (SQLSTATE {error.sqlstate})"
    if isinstance(error, psycopg.OperationalError | ServiceError):
        return " ".join(str(error).split())
    return type(error).__name__


def reliable(dsn: str) -> str:
    """The same server. One that went away without a word is noticed in half a minute, not in hours; and text is UTF-8
    whatever the environment asks for.
    """
    return make_conninfo(
        dsn,
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        connect_timeout=5,
        client_encoding="utf8",
    )


def connect(dsn: str, name: str) -> Connection[Any]:
    """To write, or to compare.

    Nothing is prepared on the server: a pool that gives each transaction another connection would not find it again.

    :param name: of the program, for the server's lists.
    """
    return Connection.connect(
        reliable(dsn), autocommit=True, application_name=f"lakehouse {name}", prepare_threshold=None
    )


def check(connection: Connection[Any]) -> None:
    """:raises ServiceError: no server that can hold our rows."""
    if connection.info.server_version < _OLDEST:
        raise ServiceError(
            f"PostgreSQL is of version {connection.info.parameter_status('server_version')}.",
            f"{_OLDEST // 10_000} or newer",
            "name a newer server in LAKEHOUSE_POSTGRES_DSN",
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise ServiceError(
            f"The database {connection.info.dbname} keeps text as {encoding}.",
            "UTF8: brands and ids may hold any character",
            "make one with `CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0`, name it in LAKEHOUSE_POSTGRES_DSN",
        )


async def connect_reader(dsn: str, timeout_s: float) -> AsyncConnection[Any]:
    """To read only: that is asked of the server too, whatever the role may do.

    :param timeout_s: of each question.
    :raises ServiceError: a pool is between that gives each transaction another connection: no notification comes
        through it, and what is set for our session would be set for others.
    """
    connection = await AsyncConnection.connect(
        reliable(dsn), autocommit=True, application_name="lakehouse live", prepare_threshold=None
    )
    try:
        if not await _is_one_session(connection, dsn):
            raise ServiceError(
                "A pool gives each transaction another connection to PostgreSQL.",
                "one connection for the whole session",
                "name the server itself, or a pool in session mode, in LAKEHOUSE_LIVE_DSN",
            )
        await connection.execute(
            f"SET default_transaction_read_only = on; SET statement_timeout = {timeout_s * 1000:.0f};"
            " SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'"
        )
    except BaseException:
        await connection.close()
        raise
    return connection


async def _is_one_session(connection: AsyncConnection[Any], dsn: str) -> bool:
    """A pool's own process number is not the server's. While we are idle, a second connection through a pool of
    transactions is given the very connection to the server that we had.
    """
    mine = await _server_process(connection)
    if mine == connection.info.backend_pid:
        return True
    try:
        async with asyncio.timeout(_ANSWER_S), await AsyncConnection.connect(reliable(dsn), autocommit=True) as second:
            return await _server_process(second) != mine and await _server_process(connection) == mine
    except TimeoutError:
        return True  # a pool of sessions, and this one was its last


async def _server_process(connection: AsyncConnection[Any]) -> int:
    found = await (await connection.execute("SELECT pg_backend_pid()")).fetchone()
    return found[0] if found else 0
