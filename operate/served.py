"""Is what PostgreSQL serves what gold has?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
from confluent_kafka import Consumer, KafkaException, TopicPartition
from psycopg import sql
from pyspark.sql.pandas.types import to_arrow_type
from pyspark.sql.types import ArrayType, StructField

from lakehouse.errors import ServiceError, TableError
from lakehouse.kafka_access import for_librdkafka
from lakehouse.settings import Settings
from lakehouse.tables import PUBLISHED, Table
from lakehouse.wire import plain
from operate.behind import LATE_S
from operate.lake import last_noted, open_dataset, open_table
from serving.server import connect
from serving.store import identifier

_TIMEOUT_S, _CATCH_UP_S = 10.0, 30.0
_LOT = 50_000


def lag(settings: Settings) -> int:
    """Records of gold's topics that are not in PostgreSQL yet.

    :raises ServiceError: Kafka or PostgreSQL does not answer.
    """
    with connected(settings) as connection:
        if connection.execute("SELECT to_regclass('sink.offsets')").fetchone() == (None,):
            raise _unserved()
        rows = connection.execute('SELECT topic, "partition", next_offset FROM sink.offsets').fetchall()
    stored = {(topic, partition): offset for topic, partition, offset in rows}
    consumer = Consumer(for_librdkafka(settings) | {"group.id": "lakehouse-lag", "log_level": 0})
    try:
        topics = consumer.list_topics(timeout=_TIMEOUT_S).topics
        behind = 0
        for table in PUBLISHED:
            topic = table.topic(settings)
            for partition in topics[topic].partitions if topic in topics else ():
                place = TopicPartition(topic, partition)
                _, end = consumer.get_watermark_offsets(place, timeout=_TIMEOUT_S, cached=False)
                ahead = stored.get((topic, partition), 0)
                # Beyond the end: the topic was made anew, and all of it is still to be read.
                behind += end - ahead if ahead <= end else max(end, 1)
        return behind
    except KafkaException as error:
        raise ServiceError(
            f"Kafka at {settings.kafka_bootstrap!r} does not answer: {error.args[0].str()}", "", "start it"
        ) from None
    finally:
        consumer.close()


@dataclass(frozen=True)
class _Committed:
    """What a table had when it was looked at.

    :param version: None: its first round is still to come.
    :param published: rows up to this revision are published; those above it perhaps: the last commit is a moment old.
    :param gone: keys that the last commit has left without a row, likewise.
    """

    table: Table
    version: int | None
    published: int = 2**63 - 1
    gone: frozenset[tuple[object, ...]] = frozenset()


def _committed(table: Table, settings: Settings, late_before_s: float) -> _Committed:
    try:
        version, last = open_table(table, settings).version(), last_noted(table, settings)
    except TableError:
        return _Committed(table, None)
    revision, published = last.note.get("revision", 0), last.note.get("published", 0)
    if published >= revision or last.committed_at.timestamp() < late_before_s:
        return _Committed(table, version)
    return _Committed(table, version, published, frozenset(map(tuple, last.note.get("gone", []))))


def served_counts(settings: Settings, late_before_s: float | None = None) -> dict[str, Any]:
    """P5: each row that gold has is served in its revision, or in a newer one than any that gold has written; no other
    row of a revision that gold has written is served; and what is newer is written within a minute.

    Gold's versions are taken first. Then the sink gets half a minute to come to where the topics end. What a table has
    committed a moment ago and may not have published yet is waited for.

    :param late_before_s: what has waited since before this time, in seconds since 1970, is late; None: for a minute.
    """
    late_s = time.time() - LATE_S if late_before_s is None else late_before_s
    tables = [_committed(table, settings, late_s) for table in PUBLISHED]
    end_s = time.monotonic() + _CATCH_UP_S
    behind = lag(settings)
    while behind and time.monotonic() < end_s:
        time.sleep(0.2)
        behind = lag(settings)
    counts: dict[str, Any] = {"rows": 0, "ahead": 0, "waiting": 0, "broken_behind": behind}
    counts |= dict.fromkeys(("broken_ahead", "broken_missing", "broken_other", "broken_unknown"), 0)
    with connected(settings) as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        for committed in tables:
            found = _compare(committed, settings, served_rows(connection, committed.table), late_s)
            counts |= {name: counts[name] + count for name, count in found.items()}
        (rejected,) = connection.execute("SELECT count(*) FROM sink.rejected").fetchone() or (0,)
    return counts | {"broken_rejected": rejected}


def _compare(committed: _Committed, settings: Settings, served: pa.Table, late_s: float) -> dict[str, int]:
    table = committed.table
    with duckdb.connect() as duck:
        duck.execute("SET TimeZone = 'UTC'")
        duck.register("served_raw", served)
        if committed.version is None:
            duck.register("gold_raw", served.slice(0, 0))
            gold = ", ".join(f'"{each.name}"' for each in table.schema.fields)
        else:
            duck.register("gold_raw", open_dataset(table, settings, committed.version))
            gold = ", ".join(_storable(each) for each in table.schema.fields)
        duck.execute(f"CREATE TABLE gold AS SELECT {gold} FROM gold_raw")
        columns = ", ".join(_parsed(each) for each in table.schema.fields)
        duck.execute(f"CREATE TABLE served AS SELECT {columns} FROM served_raw")
        names = [each.name for each in table.schema.fields]
        differs = " OR ".join(f's."{name}" IS DISTINCT FROM g."{name}"' for name in names)
        keys = ", ".join(table.keys)
        # The others are committed before they are published.
        is_late = (
            f"coalesce(epoch_us(s.updated_at) < {round(late_s * 1e6)}, false)" if "updated_at" in names else "false"
        )
        duck.execute(
            f"""
            CREATE TABLE pairs AS
            WITH newest AS (SELECT coalesce(max(revision), 0) AS revision FROM gold)
            SELECT {keys}, s.revision IS NOT NULL AS is_served, g.revision IS NOT NULL AS is_gold,
                   coalesce(s.revision > newest.revision, false) AS is_ahead,
                   {is_late} AS is_late,
                   coalesce(g.revision > {committed.published}
                            AND (s.revision IS NULL OR s.revision < g.revision), false) AS is_waiting,
                   coalesce({differs}, true) AS differs
            FROM gold AS g FULL JOIN served AS s USING ({keys}), newest"""
        )
        row = duck.sql(
            """SELECT count_if(is_served), count_if(is_ahead), count_if(is_waiting), count_if(is_ahead AND is_late),
                      count_if(NOT is_served AND NOT is_waiting),
                      count_if(is_served AND is_gold AND NOT is_ahead AND NOT is_waiting AND differs)
               FROM pairs"""
        ).fetchall()[0]
        unknown = duck.sql(f"SELECT {keys} FROM pairs WHERE NOT is_gold AND NOT is_ahead").fetchall()
    going = sum(tuple(map(plain, key)) in committed.gone for key in unknown)
    names = ["rows", "ahead", "waiting", "broken_ahead", "broken_missing", "broken_other", "broken_unknown"]
    counts = dict(zip(names, (*(count or 0 for count in row), len(unknown) - going), strict=True))
    return counts | {"waiting": counts["waiting"] + going}


def _storable(field: StructField) -> str:
    """SQL for a column of gold as PostgreSQL can have it."""
    if isinstance(field.dataType, ArrayType):
        kept = ", ".join(f"'{name}': {_text(f'e.{name}', kind)}" for name, kind in _compared(field).items())
        return f'list_transform("{field.name}", lambda e: {{{kept}}}) AS "{field.name}"'
    quoted = f'"{field.name}"'
    return f"{_text(quoted, _DUCK.get(field.dataType.typeName(), ''))} AS {quoted}"


def _text(column: str, kind: str) -> str:
    return f"replace({column}, chr(0), '\ufffd')" if kind == "VARCHAR" else column


def _parsed(field: StructField) -> str:
    if isinstance(field.dataType, ArrayType):
        return f"""from_json("{field.name}", '[{_json(_compared(field))}]') AS "{field.name}\""""
    return f'"{field.name}"'


def _compared(field: StructField) -> dict[str, str]:
    """What is compared of each element of a list: all but JSON, which PostgreSQL writes in its own order."""
    fields = field.dataType.elementType.fields  # type: ignore[attr-defined]
    return {each.name: _DUCK[each.dataType.typeName()] for each in fields if not each.metadata.get("json")}


_DUCK = {"string": "VARCHAR", "long": "BIGINT", "boolean": "BOOLEAN", "decimal": "DECIMAL(10,2)"}


def _json(shape: dict[str, str]) -> str:
    return "{" + ",".join(f'"{name}":"{kind}"' for name, kind in shape.items()) + "}"


def served_rows(connection: psycopg.Connection[Any], table: Table) -> pa.Table:
    """All rows of a table of the store. JSON stays text."""
    names = table.schema.fieldNames()
    columns = [
        sql.SQL("{}::text").format(sql.Identifier(each.name))
        if isinstance(each.dataType, ArrayType)
        else sql.Identifier(each.name)
        for each in table.schema.fields
    ]
    schema = pa.schema([(each.name, _arrow_kind(each)) for each in table.schema.fields])
    lots = []
    with connection.transaction(), connection.cursor(name="served", binary=True) as cursor:
        cursor.execute(sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(columns), identifier(table)))
        while rows := cursor.fetchmany(_LOT):
            lots.append(pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)), schema=schema))
    return pa.concat_tables(lots) if lots else schema.empty_table()


def _arrow_kind(field: StructField) -> pa.DataType:
    return pa.string() if isinstance(field.dataType, ArrayType) else to_arrow_type(field.dataType, timezone="UTC")


@contextmanager
def connected(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    dsn = settings.postgres_dsn.get_secret_value()
    if not dsn:
        raise _unserved()
    try:
        with connect(dsn, "audit") as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise ServiceError(
            f"PostgreSQL does not answer: {' '.join(str(error).split())}",
            "the server that the sink writes to",
            "start it (`lakehouse up`), then try again",
        ) from None


def _unserved() -> ServiceError:
    return ServiceError("There is no serving store yet.", "gold's rows in PostgreSQL", "run `lakehouse up`")
