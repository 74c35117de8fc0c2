"""A clock and a producer of pretence, at the seams of the live stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ingest.live import Clock
from ingest.producer import Headers


class FakeClock:
    """Time that passes only while somebody sleeps."""

    def __init__(self, now_s: float) -> None:
        self._now_s = now_s

    def now(self) -> float:
        return self._now_s

    def sleep(self, seconds: float) -> None:
        self._now_s += seconds

    def clock(self) -> Clock:
        return Clock(self.now, self.sleep)


@dataclass
class FakeProducer:
    """Keeps what it is given, with the moment.

    :param now: what time it is.
    :param is_away: whether there is no room at this moment, as while Kafka is away.
    """

    now: Callable[[], float]
    is_away: Callable[[float], bool] = lambda now_s: False
    sent: list[tuple[float, str, bytes | None, bytes | None, Headers]] = field(default_factory=list)
    flushed: int = 0

    def send_batch(self, topic: str, keys: Sequence[bytes | None], values: Sequence[bytes | None]) -> None:
        self.sent += [(self.now(), topic, k, v, {}) for k, v in zip(keys, values, strict=True)]

    def send(self, topic: str, key: bytes | None, value: bytes, headers: Headers | None = None) -> None:
        self.sent.append((self.now(), topic, key, value, headers or {}))

    def poll(self) -> None: ...

    def has_room(self) -> bool:
        return not self.is_away(self.now())

    def flush(self) -> None:
        self.flushed = len(self.sent)
