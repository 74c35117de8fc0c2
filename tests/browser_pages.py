"""Pages opened in a real browser: what it complains of, and what would keep a reader from them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

_SERIOUS = ("serious", "critical")


@dataclass
class Opened:
    """:param complaints: what the browser has said of it: errors, warnings, refusals; and the dialogs it has opened."""

    page: Page
    complaints: list[str] = field(default_factory=list)


@contextmanager
def opened(browser: Browser, url: str, **looks: Any) -> Iterator[Opened]:
    """A page in a window of its own, without anything that another one has left.

    :param looks: of the window, such as `color_scheme`.
    """
    context = browser.new_context(**looks)
    try:
        found = Opened(context.new_page())
        said = found.complaints
        found.page.on("console", lambda told: told.type in ("error", "warning") and said.append(told.text))
        found.page.on("pageerror", lambda error: said.append(str(error)))
        found.page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        found.page.goto(url)
        yield found
    finally:
        context.close()


def faults(page: Page) -> list[str]:
    """What would keep a reader from it, by axe-core: rule, and the elements that break it."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {node['html'][:120]} {node['failureSummary']}"
        for each in found
        if each["impact"] in _SERIOUS
        for node in each["nodes"]
    ]
