"""Where the `lakehouse` command prints: a terminal, a pipe or a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from lakehouse.visible import print_visible, visible

_PIPE_WIDTH = 100_000


class Terminal(Console):
    """Shows data as it is: brackets are no markup, colons no pictures, control characters are made visible.

    Elsewhere than on a terminal lines are as long as what they say, unless COLUMNS is set.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False, **options})
        if not self.is_terminal and "width" not in options and "COLUMNS" not in os.environ:
            self.width = _PIPE_WIDTH

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """All that is printed comes through here, also what is no text when it is given."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


TOOLS: Mapping[str, Callable[[], object]] = {
    "console": Terminal,
    "show": lambda: print_visible,
    "say": lambda: partial(print_visible, to_stderr=True),
}
"""What a command may ask for by the name of an argument: lines on stdout are its answer, on stderr how it goes."""
