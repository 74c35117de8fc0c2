"""What the commands of this layer share: a progress line for people, and a clean end on Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from lakehouse.errors import LakehouseError
from lakehouse.visible import in_one_line, visible

_BAR_WIDTH = 30


class Progress:
    """Lines on stderr. The one that changes does so at most five times a second; in a log it is a line every 10 s."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._shown_s = 0.0 if self._is_terminal else time.monotonic()

    def show(self, text: str) -> None:
        if time.monotonic() - self._shown_s < (0.2 if self._is_terminal else 10.0):
            return
        self._shown_s = time.monotonic()
        if self._is_terminal:
            print(f"\r\033[K{visible(text)}", end="", file=sys.stderr, flush=True)
        else:
            print(visible(text), file=sys.stderr, flush=True)

    def bar(self, share: float, text: str) -> None:
        """How much of a whole is done, from 0 to 1, before the text."""
        done = round(min(share, 1.0) * _BAR_WIDTH)
        self.show(f"[{'#' * done}{'.' * (_BAR_WIDTH - done)}] {share:4.0%}  {text}")

    def say(self, text: str) -> None:
        """A line that stays."""
        start = "\r\033[K" if self._is_terminal and self._shown_s else ""
        print(f"{start}{visible(text)}", file=sys.stderr, flush=True)

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


def wait(seconds: float, should_stop: Callable[[], bool]) -> None:
    """Waits for so long, or until somebody says stop."""
    end_s = time.monotonic() + seconds
    while (left_s := end_s - time.monotonic()) > 0 and not should_stop():
        time.sleep(min(left_s, 0.1))


def printable(name: str) -> str:
    """A file's name as text in one line, however its bytes were meant."""
    return in_one_line(name)
