"""The end of a process at a chosen step, without a process that ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Crash(Exception):
    """Stands for the end of a process: whatever is held in memory is lost."""


class Crashing:
    """Lets calls through until the one that is to die, before or after it has done its work."""

    def __init__(self, number: int, when: str) -> None:
        self._left, self._when = number, when

    def around(self, work: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._left == 0 and self._when == "before":
                raise Crash
            result = work(*args, **kwargs)
            if self._left == 0:
                raise Crash
            return result

        return wrapped
