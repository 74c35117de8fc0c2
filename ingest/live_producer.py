"""Records into Kafka as they fall due, through kafka-python, with the partitions and promises of `EventProducer`.

It sends fewer records a second than that one, which is for bulk and transactions (docs/decisions/0010-libraries.md).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError

from ingest.event_wire import event_wire
from ingest.producer import Headers, refuse_without_kafka, unreachable
from lakehouse.kafka_access import for_kafka_python
from lakehouse.settings import Settings

MOST_QUEUED_ROWS = 50_000
MOST_QUEUED_BYTES = 64 * 1024 * 1024
MOST_REQUEST_BYTES = 8 * 1024 * 1024
DELIVERY_S = 120.0  # how long Kafka may be away before a record counts as lost


class LiveProducer:
    """Keeps the order of records of one key and bounds what waits in memory. Used by one thread.

    :param timeout_s: how long the broker may take to answer the first time, and at the end.
    :raises ServiceError: the broker does not answer within `timeout_s`, or the schema registry does not.
    :raises InputError: the schema registry refuses the schema of the events.
    """

    def __init__(self, settings: Settings, linger_ms: int = 5, timeout_s: float = 15.0) -> None:
        refuse_without_kafka(settings)
        self.settings, self.timeout_s = settings, timeout_s
        self._on_wire = event_wire(settings)
        self._waiting: deque[tuple[Any, int]] = deque()  # the promise of each record, and its bytes
        self._waiting_bytes = 0
        try:
            self.client = KafkaProducer(
                **for_kafka_python(settings),
                bootstrap_timeout_ms=int(timeout_s * 1000),
                max_block_ms=int(timeout_s * 1000),
                delivery_timeout_ms=int(DELIVERY_S * 1000),
                # Not compressed: this client's lz4 needs a package of its own, and live batches are small.
                compression_type=None,
                enable_idempotence=True,
                acks="all",
                linger_ms=linger_ms,
                batch_size=65_536,
                max_request_size=MOST_REQUEST_BYTES,
                metrics_enabled=False,
            )
        except (KafkaError, OSError, ValueError) as error:  # ValueError: an address that is none
            raise unreachable(self.settings, _said(error)) from None

    def send_batch(self, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> None:
        """Queue events, in order and in the form of the wire; waits while too much is queued.

        :raises ServiceError: one cannot be sent, or one sent before could not be delivered.
        """
        for key, value in zip(keys, self._on_wire(values), strict=True):
            self._send(topic, key, value, [])

    def send(self, topic: str, key: bytes | None, value: bytes, headers: Headers | None = None) -> None:
        """Queue one record, with headers if there are any; waits and raises as `send_batch`."""
        pairs = [(name, v.encode() if isinstance(v, str) else v or b"") for name, v in (headers or {}).items()]
        self._send(topic, key, value, pairs)

    def poll(self) -> None:
        """Look for failures.

        :raises ServiceError: a record could not be delivered.
        """
        while self._waiting and self._waiting[0][0].is_done:
            promise, size = self._waiting.popleft()
            self._waiting_bytes -= size
            if promise.failed():
                raise unreachable(self.settings, _said(promise.exception))

    def has_room(self) -> bool:
        """Whether records can be queued now, without waiting; raises as `poll`."""
        self.poll()
        return len(self._waiting) < MOST_QUEUED_ROWS and self._waiting_bytes < MOST_QUEUED_BYTES

    def flush(self) -> None:
        """Wait until all is delivered.

        :raises ServiceError: something could not be, or not in time.
        """
        with suppress(KafkaError):  # too late, which the next lines say
            self.client.flush(self.timeout_s)
        self.poll()
        if self._waiting:
            left = len(self._waiting)
            raise unreachable(self.settings, f"{left} records were not delivered in {self.timeout_s:.0f} s")

    def close(self) -> None:
        """Let go of the connection. What cannot be delivered within a second, after a failure, is dropped."""
        try:
            self.client.close(timeout=1)
        except KafkaError:
            # Else the client tries once more when it is deleted, and tells of its failure by a stack trace.
            self.client._sender.force_close()
            with suppress(KafkaError):
                self.client.close(timeout=1)

    def _send(self, topic: str, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
        try:
            while not self.has_room():
                self._waiting[0][0].get(DELIVERY_S)
            promise = self.client.send(topic, value=value, key=key, headers=headers)
        except KafkaError as error:
            raise unreachable(self.settings, _said(error)) from None
        size = len(value or b"")
        self._waiting.append((promise, size))
        self._waiting_bytes += size


def _said(error: Exception) -> str:
    name, text = type(error).__name__, str(error)
    return text if text.startswith(name) else f"{name}: {text}"  # most of kafka-python's begin with it
