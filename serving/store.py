"""What the serving store is made of: a table for each published table of gold, and views.

Its schemas are its own, and every statement names them: another application may share the database.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import Connection, sql
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    LongType,
    StringType,
    TimestampType,
)

from lakehouse.tables import PUBLISHED, Table
from serving.reader import let_read, make_reader, set_up_reader, take_back
from serving.server import check

VIEWS_SCHEMA = "storefront"

_VIEWS = Path(__file__).with_name("views.sql").read_text(encoding="utf-8")
VIEWS = tuple(re.findall(rf"CREATE OR REPLACE VIEW ({VIEWS_SCHEMA}\.\w+)", _VIEWS))

_LOCK_S = 5
"""A lock that somebody's reading holds up is asked for again, and the wait is said."""

_KINDS: Mapping[type[DataType], LiteralString] = {
    LongType: "bigint",
    StringType: "text",
    BooleanType: "boolean",
    DoubleType: "double precision",
    TimestampType: "timestamptz",
    DateType: "date",
    ArrayType: "jsonb",
}

_BOOKKEEPING = """
CREATE SCHEMA IF NOT EXISTS gold;
CREATE SCHEMA IF NOT EXISTS silver;
CREATE SCHEMA IF NOT EXISTS sink;
CREATE SCHEMA IF NOT EXISTS storefront;
CREATE TABLE IF NOT EXISTS sink.layout (digest text NOT NULL);
CREATE TABLE IF NOT EXISTS sink.topics (topic text PRIMARY KEY, topic_id text NOT NULL);
CREATE TABLE IF NOT EXISTS sink.offsets (
    topic text, "partition" int, next_offset bigint NOT NULL, PRIMARY KEY (topic, "partition"));
CREATE TABLE IF NOT EXISTS sink.withdrawn (topic text, key text, revision bigint NOT NULL, PRIMARY KEY (topic, key));
CREATE TABLE IF NOT EXISTS sink.rejected (
    topic text, "partition" int, "offset" bigint, key bytea, value bytea, reason text NOT NULL,
    rejected_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (topic, "partition", "offset"));
"""

_INDEXES: Mapping[str, tuple[LiteralString, ...]] = {
    "gold.product_sales": (
        # All that is summed over the newest windows is in the index: no row has to be fetched for it.
        "window_start_at, last_purchase_at) INCLUDE (product_id, units, revenue, refund_units, refund_amount",
        "product_id, window_start_at",
    ),
    "gold.product_sales_hourly": ("window_start_at", "product_id, window_start_at"),
    "gold.product_sales_daily": ("window_start_on", "product_id, window_start_on"),
    "gold.sales_corrections": ("corrected_at",),
    "gold.orders": ("ordered_at", "user_id"),
    "gold.products": ("product_id", "brand", "last_event_at"),
    "gold.customer_value": ("user_id", "revenue", "last_purchase_at"),
    "gold.funnel": ("event_on",),
    "gold.abandoned_carts": ("abandoned_at", "user_id"),
    "gold.customer_scores": ("user_id", "expected_value"),
    "gold.cart_scores": ("opened_at", "user_id", "outcome_at"),
    "silver.sessions": ("user_id", "started_at"),
}

_NOT_BY_DOCUMENT = ("silver.sessions",)
"""Without an index of the documents: these rows are many, change often, and are asked for by key."""


def identifier(table: Table) -> sql.Identifier:
    return sql.Identifier(*table.name.split("."))


def kind_of(kind: DataType) -> sql.SQL:
    if isinstance(kind, DecimalType):
        return sql.SQL(f"numeric({kind.precision},{kind.scale})")
    return sql.SQL(_KINDS[type(kind)])


def columns_of(table: Table) -> sql.Composed:
    """`name kind, ...` of all columns."""
    parts = (sql.SQL("{} {}").format(sql.Identifier(each.name), kind_of(each.dataType)) for each in table.schema.fields)
    return sql.SQL(", ").join(parts)


def prepare_store(connection: Connection[Any], bi_password: str) -> None:
    """Makes what is missing, in one transaction. A store that has today's layout is left alone: to make a view anew has
    to wait for whoever reads it.

    :param bi_password: of the role that reads, which is made where it is missing; empty: only a role that is there may
        read.
    :raises ServiceError: the server cannot hold our rows.
    :raises psycopg.errors.InsufficientPrivilege: a right is missing that docs/serving.md names.
    """
    check(connection)
    layout = hashlib.sha256(_VIEWS.encode())
    for table in PUBLISHED:
        layout.update(f"{table.name} {columns_of(table).as_string()} {_INDEXES[table.name]}".encode())
    _keep_books(connection)
    with connection.transaction():
        connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_S}s'")
        # Of all roles but the owner nobody can take this one. Readers of the table do not wait for it.
        connection.execute("LOCK TABLE sink.layout IN EXCLUSIVE MODE")
        found = connection.execute("SELECT digest FROM sink.layout").fetchone()
        if found != (layout.hexdigest(),):
            if found:
                _leave_public(connection)
            for table in PUBLISHED:
                _make(connection, table)
            connection.execute(_VIEWS.encode())
            connection.execute("DELETE FROM sink.layout")
            connection.execute("INSERT INTO sink.layout VALUES (%s)", [layout.hexdigest()])
        if bi_password:
            make_reader(connection, bi_password)
        let_read(connection, ("gold", "silver", VIEWS_SCHEMA), (*(table.name for table in PUBLISHED), *VIEWS))
    set_up_reader(connection, bi_password, (VIEWS_SCHEMA, "gold"))


def _keep_books(connection: Connection[Any]) -> None:
    try:
        with connection.transaction():
            connection.execute(_BOOKKEEPING)
    except (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateObject, psycopg.errors.DuplicateTable):
        with connection.transaction():  # another instance made them in this moment
            connection.execute(_BOOKKEEPING)


def _leave_public(connection: Connection[Any]) -> None:
    """A store of an earlier version has its views where the server's search_path led, and let its readers read all that
    is in `public`.
    """
    ours = "IN ('public', current_user) AND pg_get_userbyid({}owner) = current_user"
    relations = connection.execute(
        f"""SELECT nspname, relname, relkind = 'v' AND {VIEWS_SCHEMA!r} || '.' || relname = ANY(%s)
            FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
            WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND nspname {ours.format("rel")}""",
        [list(VIEWS)],
    )
    for schema, name, is_our_view in relations.fetchall():
        if is_our_view:
            move = sql.SQL("ALTER VIEW {} SET SCHEMA {}")
            connection.execute(move.format(sql.Identifier(schema, name), sql.Identifier(VIEWS_SCHEMA)))
        else:
            take_back(connection, sql.Identifier(schema, name))
    functions = connection.execute(
        f"""SELECT nspname FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
            WHERE proname = 'store_now' AND pronargs = 0 AND nspname {ours.format("pro")}"""
    )
    for (schema,) in functions.fetchall():
        move = sql.SQL("ALTER FUNCTION {}() SET SCHEMA {}")
        connection.execute(move.format(sql.Identifier(schema, "store_now"), sql.Identifier(VIEWS_SCHEMA)))


def _make(connection: Connection[Any], table: Table) -> None:
    name = identifier(table)
    connection.execute(
        sql.SQL("CREATE TABLE IF NOT EXISTS {} (key text PRIMARY KEY, {}, row jsonb NOT NULL)").format(
            name, columns_of(table)
        )
    )
    for each in table.schema.fields:  # a column that came with a newer version
        connection.execute(
            sql.SQL("ALTER TABLE {} ADD COLUMN IF NOT EXISTS {} {}").format(
                name, sql.Identifier(each.name), kind_of(each.dataType)
            )
        )
    # New rows are read from an index alone once they are vacuumed; by default that waits for a fifth of the table.
    connection.execute(
        sql.SQL(
            "ALTER TABLE {} SET (autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 10000)"
        ).format(name)
    )
    short = table.name.split(".")[1]
    indexes = {f"{short}_{number}": columns for number, columns in enumerate(_INDEXES[table.name])}
    for index, columns in (indexes | {f"{short}_revision": "revision"}).items():
        connection.execute(
            sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} ({})").format(sql.Identifier(index), name, sql.SQL(columns))
        )
    if table.name not in _NOT_BY_DOCUMENT:
        connection.execute(
            sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} USING gin (row jsonb_path_ops)").format(
                sql.Identifier(f"{short}_row"), name
            )
        )
