"""A real browser for the tests of a module. Import `browser` into a test file to use it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from bench.audience import chromium, chromium_flags

_SERIOUS = ("serious", "critical")


# Not of the whole session: its loop runs in the main thread, where other modules' tests run theirs.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Started, without a window. Skips where there is none."""
    program = chromium()
    if not program:
        pytest.skip("there is no Chromium on the path to look at the page with")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=chromium_flags())
        yield started
        started.close()


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
