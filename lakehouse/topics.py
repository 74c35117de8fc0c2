"""Rows of gold -> their topics: keyed, versioned, for readers that keep the highest revision of a key."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Protocol

from confluent_kafka import KafkaError, KafkaException

from lakehouse.producers import flush, make_producer
from lakehouse.settings import Settings
from lakehouse.tables import Table
from lakehouse.visible import visible
from lakehouse.wire import to_json, to_key

_TIMEOUT_S = 60.0
_LOG = logging.getLogger("lakehouse")

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
    """The topics of the tables that are PUBLISHED. What is published is delivered when the call returns, but for rows
    that are larger than Kafka takes: they are said in the log, and the audit finds them missing.
    """

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
            except KafkaException as error:
                if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                    raise
                self._set_aside(topic, key)
                return
            except BufferError:  # a rebuild publishes more than the queue has room for
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return

    def _wait(self, topic: str) -> None:
        flush(self._producer, _TIMEOUT_S)
        if self._failed:
            raise RuntimeError(f"{topic}: {self._failed[0]}")

    def _on_delivery(self, error: Any, record: Any) -> None:
        if error is None:
            return
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self._set_aside(record.topic(), record.key())
        else:
            self._failed.append(str(error))

    def _set_aside(self, topic: str, key: bytes) -> None:
        """To send it again cannot help: the others go on."""
        _LOG.error("%s: the row of %s is larger than a record may be, and is not published", topic, visible(repr(key)))
