"""Sends the input at a steady rate, piece by piece, through whatever happens to Kafka."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from lakehouse.producers import make_producer
from lakehouse.settings import Settings
from tests.chaos.sendings import Sending


class Feed:
    """An idempotent producer tries again what was not acknowledged, and Kafka takes each record once all the same.

    :param rate_per_s: how fast records are sent, up to the limit that `allow` sets.
    """

    def __init__(self, settings: Settings, sendings: Sequence[Sending], rate_per_s: float) -> None:
        self._topic, self._sendings, self._rate_per_s = settings.events_topic, sendings, rate_per_s
        # Longer than any restart: the producer must not give up a record.
        self._producer = make_producer(settings, **{"message.timeout.ms": 900_000, "log_level": 0})
        self.allowed, self._sent, self._last_s = 0, 0, time.monotonic()
        self.acknowledged = 0
        self.refused: list[str] = []

    @property
    def values(self) -> list[bytes | None]:
        """Of all records, as they are sent."""
        return [sending.record.value for sending in self._sendings]

    def allow(self, share: float) -> None:
        """This share of the input may be sent now."""
        self.allowed = round(len(self._sendings) * min(share, 1.0))

    def send_due(self) -> None:
        """To be called often, at least a few times a second."""
        now_s = time.monotonic()
        due = min(self.allowed, self._sent + round((now_s - self._last_s) * self._rate_per_s))
        if due > self._sent or self._sent == self.allowed:
            self._last_s = now_s
        for sending in self._sendings[self._sent : due]:
            key, value = sending.record.key, sending.record.value
            self._producer.produce(self._topic, value, key, sending.partition, on_delivery=self._on_delivery)
        self._sent = max(self._sent, due)
        self._producer.poll(0)

    def is_done(self) -> bool:
        """Is all that may be sent acknowledged (or refused)?"""
        return self._sent == self.allowed and self.acknowledged + len(self.refused) == self._sent

    def _on_delivery(self, error: Any, _record: Any) -> None:
        if error is None:
            self.acknowledged += 1
        else:
            self.refused.append(str(error))
