"""Work in rounds: how long it rests between them, and what becomes of its errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from lakehouse.rounds import in_rounds
from lakehouse.streams import Stop
from operate.rounds import Group, together

_EVERY_S = 0.4


@pytest.mark.parametrize(("is_urgent", "least_s", "most_s"), [(True, 0.0, _EVERY_S), (False, _EVERY_S, 60.0)])
def test_slow_rounds_rest_unless_they_are_urgent(is_urgent: bool, least_s: float, most_s: float) -> None:
    ends_s, rests_s, enough = list[float](), list[float](), threading.Event()

    def work() -> None:
        rests_s.extend(time.monotonic() - end_s for end_s in ends_s[-1:])
        threading.Event().wait(_EVERY_S)
        ends_s.append(time.monotonic())
        if len(ends_s) == 3:
            enough.set()

    with in_rounds((work,), _EVERY_S, Stop(), is_urgent):
        assert enough.wait(60.0)
    assert least_s <= min(rests_s[:2]) < most_s


def test_an_urgent_round_that_is_quick_waits_for_its_time() -> None:
    begins_s, enough = list[float](), threading.Event()

    def work() -> None:
        begins_s.append(time.monotonic())
        if len(begins_s) == 2:
            enough.set()

    with in_rounds((work,), _EVERY_S, Stop(), is_urgent=True):
        assert enough.wait(60.0)
    assert begins_s[1] - begins_s[0] > _EVERY_S * 0.9


def test_work_that_fails_stops_the_stream_and_raises_its_error_at_the_end() -> None:
    stop = Stop()

    def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"), in_rounds((work,), 0.0, stop):
        assert stop.wait(60.0)


def test_the_first_round_waits_unless_it_is_to_be_at_once() -> None:
    done = threading.Event()
    with in_rounds((done.set,), 600.0, Stop(), at_once=True):
        assert done.wait(60.0)
    done.clear()
    with in_rounds((done.set,), 600.0, Stop()):
        assert not done.wait(0.1)


def test_a_round_that_is_told_to_stop_ends_after_the_work_that_it_is_at() -> None:
    stop, done = Stop(), list[str]()
    with in_rounds((lambda: done.append("first"), stop.set, lambda: done.append("last")), 0.0, stop, at_once=True):
        assert stop.wait(60.0)
        threading.Event().wait(2 * _EVERY_S)
        assert done == ["first"]
    assert done == ["first", "first", "last"]


@pytest.mark.parametrize("at_stop", [True, False])
def test_told_to_stop_a_round_is_done_before_the_block_ends_if_so_wished(at_stop: bool) -> None:
    stop, done = Stop(), threading.Event()
    with in_rounds((done.set,), 600.0, stop, at_stop=at_stop):
        stop.set()
        assert done.wait(60.0 if at_stop else 2 * _EVERY_S) == at_stop
        done.clear()
    assert done.is_set()


def test_works_of_one_process_end_in_the_order_in_which_each_takes_in_what_those_before_made() -> None:
    ended = list[str]()

    def group(*names: str) -> Group:
        @contextmanager
        def work(name: str) -> Iterator[None]:
            yield
            ended.append(name)

        return Group(names, 5, lambda *_: tuple(work(name) for name in names))

    both = together([group("ledger", "sessions"), group("carts")])
    assert both.writes == ("ledger", "sessions", "carts")
    with ExitStack() as until_stopped:
        for each in both.works(None, None, Stop()):  # type: ignore[arg-type]
            until_stopped.enter_context(each)
    assert ended == ["sessions", "ledger", "carts"]
