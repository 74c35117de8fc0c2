"""Gold rows -> the topic `product-sales`: keyed, versioned, for readers that keep the highest revision of a key."""

from __future__ import annotations

from typing import Any

from gold.aggregate import Key, Row
from lakehouse.producers import flush, make_producer
from lakehouse.settings import Settings
from lakehouse.wire import to_json, to_key

_TIMEOUT_S = 60.0


class SalesTopic:
    """Publishes changes. They are delivered when `publish` returns."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.sales_topic
        self._producer = make_producer(settings, **{"linger.ms": 1})
        self._failed: list[str] = []

    def publish(self, rows: list[Row], paid_at_us: dict[Key, int]) -> None:
        """One record per row of gold.product_sales.

        :param paid_at_us: key of a row -> when Kafka had the oldest payment that this change counts in; travels as
            the header `paid_at_us`, so that a reader can tell how fresh it is. A row of a rebuild has none.
        """
        for row in rows:
            key = (row["window_start_at"], row["product_id"])
            paid = paid_at_us.get(key)
            self._send(to_key(*key), to_json(row), {} if paid is None else {"paid_at_us": str(paid)})
        self._wait()

    def withdraw(self, keys: list[Key], revision: int) -> None:
        """One tombstone, a record without a value, per key that is gone. The header `revision` places it among the
        revisions of its key.
        """
        for key in keys:
            self._send(to_key(*key), None, {"revision": str(revision)})
        self._wait()

    def _send(self, key: bytes, value: bytes | None, headers: dict[str, str | bytes | None]) -> None:
        self._producer.produce(self._topic, key=key, value=value, headers=headers, on_delivery=self._on_delivery)
        self._producer.poll(0)

    def _wait(self) -> None:
        flush(self._producer, _TIMEOUT_S)
        if self._failed:
            raise RuntimeError(f"{self._topic}: {self._failed[0]}")

    def _on_delivery(self, error: Any, _record: Any) -> None:
        if error is not None:
            self._failed.append(str(error))
