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
            the header `paid_at_us`, so that a reader can tell how fresh it is.
        """
        for row in rows:
            key = (row["window_start_at"], row["product_id"])
            self._producer.produce(
                self._topic,
                key=to_key(*key),
                value=to_json(row),
                headers={"paid_at_us": str(paid_at_us[key])},
                on_delivery=self._on_delivery,
            )
            self._producer.poll(0)
        flush(self._producer, _TIMEOUT_S)
        if self._failed:
            raise RuntimeError(f"{self._topic}: {self._failed[0]}")

    def _on_delivery(self, error: Any, _record: Any) -> None:
        if error is not None:
            self._failed.append(str(error))
