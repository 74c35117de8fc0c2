"""Rows of gold -> their topics: keyed, versioned, for readers that keep the highest revision of a key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from lakehouse.producers import flush, make_producer
from lakehouse.settings import Settings
from lakehouse.tables import Table
from lakehouse.wire import to_json, to_key

_TIMEOUT_S = 60.0

Row = dict[str, Any]
Key = tuple[Any, ...]
"""The values of a row's key columns, in the order of `Table.keys`."""


def key_of(row: Mapping[str, Any], table: Table) -> Key:
    return tuple(row[name] for name in table.keys)


class Topics(Protocol):
    """Where rows of gold are published."""

    def publish(self, table: Table, rows: list[Row], paid_at_us: Mapping[Key, int] | None = None) -> None: ...

    def withdraw(self, table: Table, keys: list[Key], revision: int) -> None: ...


class GoldTopics:
    """The topics of the tables that are PUBLISHED. What is published is delivered when the call returns."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer = make_producer(settings, **{"linger.ms": 1})
        self._failed: list[str] = []

    def publish(self, table: Table, rows: list[Row], paid_at_us: Mapping[Key, int] | None = None) -> None:
        """One record per row.

        :param paid_at_us: key of a row -> when Kafka had the oldest payment that this change counts in; travels as
            the header `paid_at_us`, so that a reader can tell how fresh it is.
        """
        topic, paid_at_us = table.topic(self._settings), paid_at_us or {}
        for row in rows:
            key = key_of(row, table)
            paid = paid_at_us.get(key)
            self._send(topic, to_key(*key), to_json(row), {} if paid is None else {"paid_at_us": str(paid)})
        self._wait(topic)

    def withdraw(self, table: Table, keys: list[Key], revision: int) -> None:
        """One tombstone, a record without a value, per key that is gone. The header `revision` places it among the
        revisions of its key.
        """
        topic = table.topic(self._settings)
        for key in keys:
            self._send(topic, to_key(*key), None, {"revision": str(revision)})
        self._wait(topic)

    def _send(self, topic: str, key: bytes, value: bytes | None, headers: dict[str, str | bytes | None]) -> None:
        while True:
            try:
                self._producer.produce(topic, key=key, value=value, headers=headers, on_delivery=self._on_delivery)
            except BufferError:  # a rebuild publishes more than the queue has room for
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return

    def _wait(self, topic: str) -> None:
        flush(self._producer, _TIMEOUT_S)
        if self._failed:
            raise RuntimeError(f"{topic}: {self._failed[0]}")

    def _on_delivery(self, error: Any, _record: Any) -> None:
        if error is not None:
            self._failed.append(str(error))
