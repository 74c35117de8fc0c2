"""One batch of records -> the store, in the caller's transaction: COPY, then a merge that keeps the newest revision."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection, sql

from lakehouse.tables import Table
from serving.store import columns_of, identifier

Place = tuple[str, int]
"""(topic, partition)."""


@dataclass(frozen=True)
class Incoming:
    """A record of a gold topic.

    :param revision: None of a tombstone that names none: it deletes whatever is there.
    :param row: the row as JSON text; None: its key is withdrawn.
    :param paid_at_us: when Kafka had the oldest payment that it counts for the first time.
    """

    place: Place
    offset: int
    key: str
    revision: int | None
    row: str | None
    paid_at_us: int | None = None


class UnreadableRecord(Exception):
    """A record that is no row of gold: somebody else writes to our topic."""


def read_record(
    place: Place, offset: int, key: bytes | None, value: bytes | None, headers: Mapping[str, Any]
) -> Incoming:
    """:raises UnreadableRecord: with the reason."""
    try:
        if key is None:
            raise ValueError("it has no key")
        text, paid = _storable(key.decode()), headers.get("paid_at_us")
        if value is None:
            revision = headers.get("revision")
            return Incoming(place, offset, text, None if revision is None else int(revision), None)
        row = json.loads(value)
        if not isinstance(row, dict) or not isinstance(row.get("revision"), int):
            raise ValueError("it is no JSON object with a revision")
        body = value.decode()
        body = json.dumps(_without_nul(row)) if "\\u0000" in body else body
        return Incoming(place, offset, text, row["revision"], body, None if paid is None else int(paid))
    except (ValueError, TypeError) as error:
        raise UnreadableRecord(str(error)) from None


def merge(connection: Connection[Any], table: Table, records: list[Incoming], topic: str) -> None:
    """Upserts records of one table, at most one per key; the newest revision wins, also against what was withdrawn."""
    names = [sql.Identifier(name) for name in table.schema.fieldNames()]
    columns, sets = sql.SQL(", ").join(names), [sql.SQL("{0} = excluded.{0}").format(name) for name in names]
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS pg_temp.incoming (key text, revision bigint, row jsonb) ON COMMIT DELETE ROWS"
    )
    connection.execute("TRUNCATE pg_temp.incoming")
    with connection.cursor().copy("COPY pg_temp.incoming (key, revision, row) FROM STDIN") as copy:
        for record in records:
            copy.write_row((record.key, record.revision, record.row))
    if any(record.row is not None for record in records):
        connection.execute(
            sql.SQL(
                """
                INSERT INTO {table} AS t (key, {columns}, row)
                SELECT i.key, {told}, i.row FROM pg_temp.incoming AS i, jsonb_to_record(i.row) AS r ({kinds})
                WHERE i.row IS NOT NULL AND NOT EXISTS (
                    SELECT FROM sink.withdrawn AS w
                    WHERE w.topic = {topic} AND w.key = i.key AND w.revision >= i.revision)
                ON CONFLICT (key) DO UPDATE SET {sets}, row = excluded.row WHERE t.revision < excluded.revision"""
            ).format(
                table=identifier(table),
                columns=columns,
                told=sql.SQL(", ").join(sql.SQL("r.{}").format(name) for name in names),
                kinds=columns_of(table),
                sets=sql.SQL(", ").join(sets),
                topic=topic,
            )
        )
    if any(record.row is None for record in records):
        connection.execute(
            sql.SQL(
                """DELETE FROM {} AS t USING pg_temp.incoming AS i
                   WHERE i.row IS NULL AND t.key = i.key AND t.revision < coalesce(i.revision, t.revision + 1)"""
            ).format(identifier(table))
        )
        connection.execute(
            """INSERT INTO sink.withdrawn AS w (topic, key, revision)
               SELECT %s, key, revision FROM pg_temp.incoming WHERE row IS NULL AND revision IS NOT NULL
               ON CONFLICT (topic, key) DO UPDATE SET revision = greatest(w.revision, excluded.revision)""",
            [topic],
        )


def newest_of_each_key(records: Iterable[Incoming]) -> list[Incoming]:
    """One record per key: the highest revision; a tombstone that names none counts as above what came before it."""
    newest: dict[str, Incoming] = {}
    for record in records:
        known = newest.get(record.key)
        if known is None or record.revision is None or known.revision is None or record.revision >= known.revision:
            newest[record.key] = record
    return list(newest.values())


def _without_nul(value: Any) -> Any:
    """PostgreSQL has no NUL in text: the replacement character stands for it."""
    if isinstance(value, str):
        return _storable(value)
    if isinstance(value, list):
        return [_without_nul(each) for each in value]
    if isinstance(value, dict):
        return {_storable(name): _without_nul(each) for name, each in value.items()}
    return value


def _storable(text: str) -> str:
    return text.replace("\x00", "\ufffd")
