"""Slow work beside a stream: it is done in rounds, one thing after the other, in a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from lakehouse.streams import Stop

Work = Callable[[], object]

_LOOK_S = 0.2


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
    works: Sequence[Work],
    every_s: float,
    stop: Stop,
    is_urgent: bool = False,
    at_once: bool = False,
    at_stop: bool = False,
) -> Iterator[None]:
    """Does the works at most every so often until the block ends or is told to stop, and once more at the block's end.

    A round that is told to stop ends after the work that it is at. A work that fails sets `stop`, so that the stream in
    the block ends; its error is raised when the block is left.

    :param is_urgent: the time counts from the start of a round, not from its end: slow rounds follow without a rest.
    :param at_once: the first round does not wait.
    :param at_stop: told to stop, a round is done at once, while others in the block still end: the one at the block's
        end then finds little left.
    """
    ended, errors = threading.Event(), list[BaseException]()

    def is_over(rest_s: float) -> bool:
        until_s = time.monotonic() + rest_s
        while not (ended.is_set() or stop.is_set()):
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return False
            ended.wait(min(_LOOK_S, left_s))
        return True

    def one_round() -> None:
        for work in works:
            if stop.is_set():
                return
            work()

    def rounds() -> None:
        rest_s = 0.0 if at_once else every_s
        try:
            while not is_over(rest_s):
                began_s = time.monotonic()
                one_round()
                rest_s = max(0.0, began_s + every_s - time.monotonic()) if is_urgent else every_s
            if at_stop:
                all_works()
        except BaseException as error:
            errors.append(error)
            stop.set()

    def all_works() -> None:
        for work in works:
            work()

    thread = threading.Thread(target=rounds, name="rounds", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if errors:
        raise errors[0]
    all_works()
