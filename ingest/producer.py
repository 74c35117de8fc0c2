"""Events into Kafka through the project's one producer, with every failure to deliver raised as an error."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol

from confluent_kafka import KafkaException, Message

from ingest.console import printable
from ingest.csv_records import CsvRecord
from ingest.event_wire import event_wire
from lakehouse.errors import ServiceError, SettingError
from lakehouse.kafka_access import what_may_be_wrong
from lakehouse.producers import make_producer
from lakehouse.settings import Settings

CHUNK_ROWS = 10_000
MOST_QUEUED_ROWS = 100_000
MOST_QUEUED_BYTES = 128 * 1024 * 1024

Headers = dict[str, str | bytes | None]

SILENT = logging.getLogger("ingest.producer")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


def refuse_without_kafka(settings: Settings) -> None:
    """:raises SettingError: nobody has said where Kafka is."""
    if not settings.kafka_bootstrap:
        raise SettingError(
            "LAKEHOUSE_KAFKA_BOOTSTRAP is empty.", "host:port of a running Kafka", "set it, or start one: lakehouse up"
        )


def unreachable(settings: Settings, error: object) -> ServiceError:
    return ServiceError(
        f"Kafka at {settings.kafka_bootstrap} does not answer: {error}",
        "a running broker",
        f"start one with `lakehouse up`, or correct {what_may_be_wrong(settings)}",
    )


class RecordProducer(Protocol):
    """What sends records: in order per key, each failure raised as a ServiceError by this call or a later one."""

    def send_batch(self, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> None:
        """Events, each a JSON object; on the wire they are what the setting `wire` says."""

    def send(self, topic: str, key: bytes | None, value: bytes, headers: Headers | None = None) -> None: ...

    def poll(self) -> None: ...

    def flush(self) -> None: ...


def send_unreadable(producer: RecordProducer, topic: str, name: str, record: CsvRecord, number: int = 0) -> None:
    """Queue a row that cannot be read: its own bytes, or the beginning of many, with its file, line, size in bytes and
    reason as headers; the SHA-256 of a row that is not here in full.

    :param number: of the file, if it is kept under one.
    """
    headers: Headers = {
        "file": printable(name),
        "line": str(record.line),
        "bytes": str(record.row.size),
        "reason": record.reason,
    }
    if number:
        headers["number"] = str(number)
    if record.sha256:
        headers["sha256"] = record.sha256
    producer.send(topic, None, record.value, headers)


class EventProducer:
    """Keeps the order of records and bounds what waits in memory.

    :param transactional_id: records are then sent in transactions, and an older producer of the same id is fenced off.
    :param linger_ms: how long a record may wait for company.
    :raises ServiceError: the broker does not answer within `timeout_s`, or the schema registry does not.
    :raises InputError: the schema registry refuses the schema of the events.
    """

    def __init__(
        self, settings: Settings, transactional_id: str = "", linger_ms: float = 5.0, timeout_s: float = 15.0
    ) -> None:
        refuse_without_kafka(settings)
        self.settings, self.timeout_s = settings, timeout_s
        self._on_wire = event_wire(settings)
        self._failed: list[str] = []
        self._queued_bytes = 0
        # A transaction reports its failures when it commits, and a callback would be in the way of a fatal one.
        self._on_delivery: dict[str, Any] = {}
        if not transactional_id:
            self._on_delivery = {"on_delivery": self._delivered}
        extra: dict[str, Any] = {
            "linger.ms": linger_ms,
            "compression.type": "lz4",
            "queue.buffering.max.messages": MOST_QUEUED_ROWS + 2 * CHUNK_ROWS,
            "queue.buffering.max.kbytes": MOST_QUEUED_BYTES // 512,
            "logger": SILENT,  # what fails is raised; librdkafka's own lines would say it twice
            "error_cb": lambda error: None,
        }
        if transactional_id:
            extra |= {"transactional.id": transactional_id, "transaction.timeout.ms": 60_000}
        self.client = make_producer(settings, **extra)
        try:
            self.client.list_topics(timeout=timeout_s)
        except KafkaException as error:
            raise unreachable(self.settings, error.args[0].str()) from None

    def send_batch(self, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> None:
        """Queue events in their order, in the form of the wire; waits while too much is queued."""
        values = self._on_wire(values)
        for first in range(0, len(keys), CHUNK_ROWS):
            last = first + CHUNK_ROWS
            self._send_chunk(
                topic, [{"key": k, "value": v} for k, v in zip(keys[first:last], values[first:last], strict=True)]
            )

    def send(self, topic: str, key: bytes | None, value: bytes, headers: Headers | None = None) -> None:
        """Queue one record, with headers if there are any; waits while too much is queued."""
        self._wait_for_room(len(value))
        self.client.produce(topic, key=key, value=value, headers=headers, **self._on_delivery)

    def poll(self) -> None:
        """Look for failures.

        :raises ServiceError: a record could not be delivered.
        """
        self.client.poll(0)
        if self._failed:
            raise unreachable(self.settings, self._failed[0])

    def flush(self) -> None:
        """Wait until all is delivered.

        :raises ServiceError: something could not be, or not in time.
        """
        left = self.client.flush(self.timeout_s)
        self.poll()
        if left:
            raise unreachable(self.settings, f"{left} records were not delivered in {self.timeout_s:.0f} s")

    def drop(self) -> None:
        """Forget what is queued, before an aborted transaction is sent again."""
        self.client.purge()
        self.client.flush(self.timeout_s)
        self._queued_bytes = 0

    def _send_chunk(self, topic: str, messages: list[dict[str, Any]]) -> None:
        self._wait_for_room(sum(len(m["value"] or b"") for m in messages))
        # A full queue would refuse some records of a batch and take later ones; there is always room, so that
        # records of one key keep their order.
        self.client.produce_batch(topic, messages, **self._on_delivery)
        refused = [m["_error"] for m in messages if "_error" in m]
        if refused:
            raise unreachable(self.settings, f"{len(refused)} records were refused: {refused[0].str()}")
        self.poll()

    def _wait_for_room(self, more_bytes: int) -> None:
        while len(self.client) > MOST_QUEUED_ROWS:
            self.client.poll(0.02)
            self.poll()
        if not len(self.client):
            self._queued_bytes = 0
        if self._queued_bytes + more_bytes > MOST_QUEUED_BYTES:
            self.flush()
            self._queued_bytes = 0
        self._queued_bytes += more_bytes

    def _delivered(self, error: Any, message: Message) -> None:
        if error is not None:
            self._failed.append(error.str())
