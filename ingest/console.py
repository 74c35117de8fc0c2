"""What the commands of this layer share: a progress line for people, and a clean end on Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from lakehouse.errors import LakehouseError


class Progress:
    """Lines on stderr; the one that changes is only for a terminal, and changes at most five times a second."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._shown_s = 0.0

    def show(self, text: str) -> None:
        if self._is_terminal and time.monotonic() - self._shown_s > 0.2:
            self._shown_s = time.monotonic()
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """A line that stays."""
        start = "\r\033[K" if self._is_terminal and self._shown_s else ""
        print(f"{start}{text}", file=sys.stderr, flush=True)

    def fail(self, error: LakehouseError) -> int:
        self.say(str(error))
        return 1


def stop_on_signals() -> Callable[[], bool]:
    """Take Ctrl-C and SIGTERM as a wish to stop; the function says whether there is one. A second Ctrl-C is at once."""
    wished: list[int] = []

    def wish(number: int, frame: FrameType | None) -> None:
        wished.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, wish)
    signal.signal(signal.SIGTERM, wish)
    return lambda: bool(wished)
