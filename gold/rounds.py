"""Slow work beside a stream: the upserts of gold, one after the other, in a thread of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gold.aggregate import Aggregation
from lakehouse.streams import Stop


@contextmanager
def in_rounds(aggregation: Aggregation, every_s: float, stop: Stop) -> Iterator[None]:
    """Upserts at most every so often while the block runs, and once more at its end.

    A round that fails sets `stop`, so that the stream in the block ends; its error is raised when the block is left.
    """
    ended = threading.Event()
    errors: list[BaseException] = []

    def rounds() -> None:
        while not ended.wait(every_s):
            try:
                aggregation.upsert()
            except BaseException as error:
                errors.append(error)
                stop.set()
                return

    thread = threading.Thread(target=rounds, name="gold rounds", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if errors:
        raise errors[0]
    aggregation.upsert()
