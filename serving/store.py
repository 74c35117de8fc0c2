"""What the serving store is made of: a table for each published table of gold, views, a role that reads."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, LiteralString

from psycopg import Connection, sql
from psycopg.conninfo import make_conninfo
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

from lakehouse.settings import Settings
from lakehouse.tables import PUBLISHED, Table

BI = "bi"

_VIEWS = Path(__file__).with_name("views.sql")
_LAYOUT_LOCK = 7_305_214_901

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


def as_reader(settings: Settings) -> str:
    """How the role that reads connects to the server that is given; empty without one, or without its password."""
    dsn, password = settings.postgres_dsn.get_secret_value(), settings.bi_password.get_secret_value()
    return make_conninfo(dsn, user=BI, password=password) if dsn and password else ""


def prepare_store(connection: Connection[Any], bi_password: str) -> None:
    """Makes what is missing, in one transaction. A store that has today's layout is left alone: to make a view anew has
    to wait for whoever reads it.

    :param bi_password: of the role that reads, which is made where it is missing; empty: only a role that is there may
        read.
    """
    views = _VIEWS.read_bytes()
    layout = hashlib.sha256(views)
    for table in PUBLISHED:
        layout.update(f"{table.name} {columns_of(table).as_string()} {_INDEXES[table.name]}".encode())
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LAYOUT_LOCK])
        connection.execute(_BOOKKEEPING)
        found = connection.execute("SELECT digest FROM sink.layout").fetchone()
        if found != (layout.hexdigest(),):
            for table in PUBLISHED:
                _make(connection, table)
            connection.execute(views)
            connection.execute("DELETE FROM sink.layout")
            connection.execute("INSERT INTO sink.layout VALUES (%s)", [layout.hexdigest()])
        _let_read(connection, bi_password)


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


def make_reader(connection: Connection[Any], password: str) -> None:
    """The role that reads, with this password, where there is none yet."""
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [BI]).fetchone() is None:
        statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
        connection.execute(statement.format(sql.Identifier(BI), sql.Literal(password)))


def _let_read(connection: Connection[Any], password: str) -> None:
    """A role that may read gold and the views, and nothing else. Temporary tables are its own: Tableau makes them."""
    if password:
        make_reader(connection, password)
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [BI]).fetchone() is None:
        return
    role = sql.Identifier(BI)
    connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    for schema in ("gold", "silver", "public"):
        named = sql.Identifier(schema)
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(named, role))
        connection.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}").format(named, role))
