"""What the page shows now: panels, each a piece of JSON that is replaced whole, and who waits for a newer one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from serving.live.browser_json import to_json


class Board:
    """Panels by name. A reader that is slow misses what was replaced meanwhile, and never more than that."""

    def __init__(self) -> None:
        self._panels: dict[str, tuple[int, str]] = {}
        self._version = 0
        self._changed = asyncio.Event()

    def put(self, panels: Mapping[str, Any]) -> None:
        """Replaces these panels; readers get them together. Those that are as they were are no news."""
        texts = {name: to_json(panel) for name, panel in panels.items()}
        news = {name: text for name, text in texts.items() if self._panels.get(name, (0, ""))[1] != text}
        if not news:
            return
        self._version += 1
        self._panels |= {name: (self._version, text) for name, text in news.items()}
        self.wake()

    def wake(self) -> None:
        """All readers look whether there is news, and whether they still are to follow."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def panel(self, name: str) -> Any:
        """A panel as it is now; None if there is none yet."""
        return json.loads(self._panels[name][1]) if name in self._panels else None

    async def follow(self, goes_on: Callable[[], bool] = lambda: True) -> AsyncIterator[str]:
        """All panels, then each time those that are new, as one JSON object.

        :param goes_on: is asked before each; see `wake`.
        """
        seen = 0
        while goes_on():
            changed = self._changed
            news = [f'"{name}":{text}' for name, (version, text) in self._panels.items() if version > seen]
            seen = self._version
            if news:
                yield "{" + ",".join(news) + "}"
            else:
                await changed.wait()
