"""A sink in a thread, and how to wait for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lakehouse.errors import ServiceError
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from operate.served import lag
from serving.sink import Sink
from serving.state import State


@contextmanager
def serving(settings: Settings) -> Iterator[None]:
    """An instance in a thread of its own."""
    stop = Stop()
    thread = threading.Thread(target=Sink(settings, State(settings, "1")).run, args=[stop])
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(120)
        assert not thread.is_alive()


def wait_for(is_so: Callable[[], bool], what: str, timeout_s: float = 180.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < end_s, what
        time.sleep(0.05)


def wait_until_served(settings: Settings) -> None:
    def is_served() -> bool:
        try:
            return lag(settings) == 0
        except ServiceError:  # not there yet
            return False

    wait_for(is_served, "rows are not served")
