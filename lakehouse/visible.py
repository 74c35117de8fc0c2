"""Text of others on a terminal: what would move the cursor, hide or turn round other text is shown, not done."""

from __future__ import annotations

import re

_ACTS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters, but for tab and line feed
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # of the direction of text
    "\u2028\u2029"  # which some terminals take for ends of lines
    "\ud800-\udfff]"  # halves of characters, which cannot be written
)


def visible(text: str) -> str:
    """The same text, with what would act on a terminal as its escape in Python: `\\x1b`."""
    return _ACTS.sub(lambda found: ascii(found[0])[1:-1], text)


def in_one_line(text: str) -> str:
    """The same, with ends of lines and tabs as their escapes too."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")
