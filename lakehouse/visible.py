"""Text of others on a terminal: what would move the cursor, hide or turn round other text is shown, not done."""

from __future__ import annotations

import logging
import re
import sys
import traceback
from types import TracebackType

_ACTS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # of the direction of text
    "\u2028\u2029"  # which some terminals take for ends of lines
    "\ud800-\udfff]"  # halves of characters, which cannot be written
)


def visible(text: str) -> str:
    """The same text, with what would act on a terminal as its escape in Python: `\\x1b`."""
    return _ACTS.sub(lambda found: ascii(found[0])[1:-1], text)


def in_one_line(text: str) -> str:
    """The same, with ends of lines and tabs as their escapes too."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


def print_visible(text: object, *, to_stderr: bool = False) -> None:
    """Prints it for people. What is printed elsewhere is JSON, which has all of this as escapes."""
    print(visible(str(text)), file=sys.stderr if to_stderr else sys.stdout, flush=True)


def print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A `sys.excepthook`: messages of errors may quote what others have sent."""
    print_visible("".join(traceback.format_exception(kind, error, trace)).rstrip(), to_stderr=True)


def log_visibly() -> None:
    """The log of a program goes to stderr, a line for each message: what follows in the same message stands further to
    the right, so that no text of others can look like a line of its own.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Visible("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    sys.excepthook = print_traceback


class _Visible(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record)).replace("\n", "\n  ")
