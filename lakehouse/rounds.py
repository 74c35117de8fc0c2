"""Slow work beside a stream: it is done in rounds, one thing after the other, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lakehouse.streams import Stop

Work = Callable[[], object]


@contextmanager
def in_rounds(works: tuple[Work, ...], every_s: float, stop: Stop) -> Iterator[None]:
    """Does the works at most every so often while the block runs, and once more at its end.

    A work that fails sets `stop`, so that the stream in the block ends; its error is raised when the block is left.
    """
    ended = threading.Event()
    errors: list[BaseException] = []

    def rounds() -> None:
        while not ended.wait(every_s):
            try:
                for work in works:
                    work()
            except BaseException as error:
                errors.append(error)
                stop.set()
                return

    thread = threading.Thread(target=rounds, name="rounds", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if errors:
        raise errors[0]
    for work in works:
        work()
