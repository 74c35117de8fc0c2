"""Slow work beside a stream: it is done in rounds, one thing after the other, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from lakehouse.streams import Stop

Work = Callable[[], object]


@contextmanager
def alongside(work: Callable[[Stop], None], stop: Stop) -> Iterator[None]:
    """Does work of its own pace in a thread while the block runs, and tells it to stop at the block's end.

    Work that fails sets `stop`, so that the stream in the block ends; its error is raised when the block is left.
    """
    own, errors = Stop(), list[BaseException]()

    def run() -> None:
        try:
            work(own)
        except BaseException as error:
            errors.append(error)
            stop.set()

    thread = threading.Thread(target=run, name="alongside", daemon=True)
    thread.start()
    try:
        yield
    finally:
        own.set()
        thread.join()
    if errors:
        raise errors[0]


@contextmanager
def in_rounds(
    works: tuple[Work, ...], every_s: float, stop: Stop, is_urgent: bool = False, at_once: bool = False
) -> Iterator[None]:
    """Does the works at most every so often while the block runs, and once more at its end.

    A work that fails sets `stop`, so that the stream in the block ends; its error is raised when the block is left.

    :param is_urgent: the time counts from the start of a round, not from its end: slow rounds follow without a rest.
    :param at_once: the first round does not wait.
    """
    ended = threading.Event()
    errors: list[BaseException] = []

    def rounds() -> None:
        rest_s = 0.0 if at_once else every_s
        while not ended.wait(rest_s):
            began_s, rest_s = time.monotonic(), every_s
            try:
                for work in works:
                    work()
            except BaseException as error:
                errors.append(error)
                stop.set()
                return
            if is_urgent:
                rest_s = max(0.0, began_s + every_s - time.monotonic())

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
