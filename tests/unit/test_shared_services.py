"""Services that several workers share. Two objects on one folder are two workers: locks are the file's, not theirs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.shared import SharedServices


def test_each_is_started_once_and_stops_when_nobody_uses_any(tmp_path: Path) -> None:
    running: list[str] = []

    @contextmanager
    def service(name: str) -> Iterator[None]:
        running.append(name)
        yield
        running.remove(name)

    folder = tmp_path / "services"
    one, two = SharedServices(folder), SharedServices(folder)
    two_may_end, both_use, ended = threading.Event(), threading.Barrier(2), list[str]()

    def work_of_two() -> None:
        with two.used():
            two.start_once("b", lambda: service("b"))
            both_use.wait(60)
            two.start_once("a", lambda: service("a"))
            assert two_may_end.wait(60)
            ended.append("two")

    with one.used():
        one.start_once("a", lambda: service("a"))
        thread = threading.Thread(target=work_of_two)
        thread.start()
        both_use.wait(60)
        one.start_once("b", lambda: service("b"))
        assert sorted(running) == ["a", "b"]
        threading.Timer(0.2, two_may_end.set).start()
    ended.append("one")
    thread.join(60)
    assert ended == ["two", "one"]
    assert running == []
