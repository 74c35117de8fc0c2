"""The topic of sales as a reader has it: the highest revision of each key, and how fresh each change came."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal

from confluent_kafka import Consumer, Message, TopicPartition

from lakehouse.kafka_access import for_librdkafka
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_PRODUCT_SALES

Place = tuple[str, int]


@dataclass(frozen=True)
class Product:
    product_id: int
    units: int
    revenue: Decimal


class SalesView:
    """Reads all of the topic, then follows it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer = Consumer(
            {
                **for_librdkafka(settings),
                "group.id": "lakehouse-view",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 20,
                "log_level": 0,
            }
        )
        topic = GOLD_PRODUCT_SALES.topic(settings)
        partitions = self._consumer.list_topics(topic, timeout=10).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        self._since_s = time.time()
        self._sales: dict[bytes, tuple[int, int, int, Decimal]] = {}
        self._units: dict[int, int] = defaultdict(int)
        self._revenue: dict[int, Decimal] = defaultdict(Decimal)
        self.freshness_s: list[float] = []

    def begin(self) -> None:
        """From now on it is measured how fresh sales come: of payments that are later than this."""
        self._since_s = time.time()
        self.freshness_s.clear()

    def poll(self, timeout_s: float) -> None:
        """Takes in what has come, waiting for the first record at most so long."""
        # `consume(n)` would wait until it has n of them.
        record = self._consumer.poll(timeout_s)
        while record is not None:
            self._take_in(record)
            record = self._consumer.poll(0)

    def _take_in(self, record: Message) -> None:
        key, value, headers = record.key(), record.value(), dict(record.headers() or [])
        if record.error() is not None or key is None:
            return
        if value is None:
            self._forget(key, int(headers.get("revision") or 0))
            return
        row = json.loads(value)
        product, revision = row["product_id"], row["revision"]
        old = self._sales.get(key)
        if old is not None and old[0] >= revision:
            return
        units, revenue = row["units"], Decimal(row["revenue"])
        self._units[product] += units - (old[2] if old else 0)
        self._revenue[product] += revenue - (old[3] if old else 0)
        self._sales[key] = (revision, product, units, revenue)
        paid_at_s = int(headers.get("paid_at_us") or 0) / 1e6
        if paid_at_s >= self._since_s:
            self.freshness_s.append(time.time() - paid_at_s)

    def _forget(self, key: bytes, revision: int) -> None:
        old = self._sales.get(key)
        if old is not None and old[0] < revision:
            self._units[old[1]] -= old[2]
            self._revenue[old[1]] -= old[3]
            del self._sales[key]

    def top(self, count: int) -> list[Product]:
        """The products of which most was sold."""
        best = sorted(self._units, key=lambda product: (-self._units[product], -self._revenue[product]))[:count]
        return [Product(product, self._units[product], self._revenue[product]) for product in best]

    def ends(self, topics: list[Place]) -> dict[Place, int]:
        """The offset after the last record of each partition."""
        return {
            place: self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=10, cached=False)[1]
            for place in topics
        }

    def close(self) -> None:
        self._consumer.close()
