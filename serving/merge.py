"""One batch of records -> the store, in the caller's transaction: COPY, then a merge that keeps the newest revision."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection, sql

from lakehouse.tables import Table
from serving.contract_check import ContractCheck
from serving.store import columns_of, identifier

Place = tuple[str, int]
"""(topic, partition)."""

_WRITER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_DIGITS = re.compile(rb"[0-9]{1,18}").fullmatch
_REVISIONS = range(2**53)
_TIMES_US = range(946_684_800_000_000, 4_102_444_800_000_000)
"""From 2000 to 2100, as in the contracts."""


@dataclass(frozen=True)
class Incoming:
    """A record of a gold topic.

    :param revision: of a tombstone too.
    :param row: the row as JSON text; None: its key is withdrawn.
    :param paid_at_us: when Kafka had the oldest payment that it counts for the first time.
    """

    place: Place
    offset: int
    key: str
    revision: int
    row: str | None
    paid_at_us: int | None = None


class UnreadableRecord(Exception):
    """A record that is no row of gold: somebody else writes to our topic. It says why, without any of its values."""


class RecordReader:
    """Records of a table's topic, whoever has written them -> rows that gold could have written, in our own words:
    whatever comes through is JSON that PostgreSQL takes for a row of this table.
    """

    def __init__(self, table: Table) -> None:
        self._contract = ContractCheck(table)

    def read(
        self, place: Place, offset: int, key: bytes | None, value: bytes | None, headers: Mapping[str, Any]
    ) -> Incoming:
        """:raises UnreadableRecord: with the reason."""
        try:
            return self._read(place, offset, key, value, headers)
        except UnicodeError:
            raise UnreadableRecord("it is no text in UTF-8") from None
        except json.JSONDecodeError:
            raise UnreadableRecord("it is no JSON") from None
        except UnreadableRecord:
            raise
        except Exception as error:  # numbers of 5,000 digits, 20,000 brackets, and what nobody has thought of
            raise UnreadableRecord(f"it cannot be read ({type(error).__name__})") from None

    def _read(
        self, place: Place, offset: int, key: bytes | None, value: bytes | None, headers: Mapping[str, Any]
    ) -> Incoming:
        if key is None:
            raise UnreadableRecord("it has no key")
        text = key.decode()
        if value is None:
            revision = _number(headers, "revision", _REVISIONS)
            if revision is None or not self._contract.is_key(text):
                raise UnreadableRecord("it withdraws no key of the table, or says no revision")
            return Incoming(place, offset, _storable(text), revision, None)
        row = json.loads(value.decode())
        if fault := self._contract.fault(row):
            raise UnreadableRecord(fault)
        if text != self._contract.key_of(row):
            raise UnreadableRecord("its key is not that of its row")
        paid_at_us = _number(headers, "paid_at_us", _TIMES_US)
        body = _WRITER.encode(row)
        body = _WRITER.encode(_without_nul(row)) if "\\u0000" in body else body
        body.encode()  # halves of characters are text in JSON, and none in UTF-8
        return Incoming(place, offset, _storable(text), row["revision"], body, paid_at_us)


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
                   WHERE i.row IS NULL AND t.key = i.key AND t.revision < i.revision"""
            ).format(identifier(table))
        )
        connection.execute(
            """INSERT INTO sink.withdrawn AS w (topic, key, revision)
               SELECT %s, key, revision FROM pg_temp.incoming WHERE row IS NULL
               ON CONFLICT (topic, key) DO UPDATE SET revision = greatest(w.revision, excluded.revision)""",
            [topic],
        )


def newest_of_each_key(records: Iterable[Incoming]) -> list[Incoming]:
    """One record per key: the highest revision."""
    newest: dict[str, Incoming] = {}
    for record in records:
        known = newest.get(record.key)
        if known is None or record.revision >= known.revision:
            newest[record.key] = record
    return list(newest.values())


def _number(headers: Mapping[str, Any], name: str, allowed: range) -> int | None:
    """None: there is no such header."""
    value = headers.get(name)
    if value is None:
        return None
    if not _DIGITS(value) or int(value) not in allowed:
        raise UnreadableRecord(f"its header {name} is no number that it may be")
    return int(value)


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
