"""Who looks at the live page while it is measured: a real browser, and readers of its stream that draw nothing.

`python -m bench.audience URL --streams 19 --chromium /usr/bin/chromium` says in lines what they see, until told to
stop; the page's token is in LAKEHOUSE_LIVE_TOKEN:

    browser 1764060000123 1764060000288      what was stored at the first time was on the screen at the second,
    stream-3 1764060000123 1764060000160     and the third reader of the stream had it; in milliseconds since 1970
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import signal
import sys
import time
from contextlib import suppress
from urllib.parse import urlsplit

TOKEN_VARIABLE = "LAKEHOUSE_LIVE_TOKEN"
"""Of this program's environment: a command line is seen by everybody on the machine."""

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# The page's own script says so two frames after it has drawn. The document is there before the page's script runs.
_WATCH = """
window.painted = [];
new MutationObserver(() => painted.push([Number(document.body.dataset.storedAtMs), Date.now()]))
    .observe(document, {subtree: true, attributeFilter: ["data-stored-at-ms"]});
"""
_STORED = re.compile(rb'"stored_at_ms":(\d+)')
_LINE_BYTES = 1 << 24
_AGAIN_S, _LOOK_S = 1.0, 1.0


def chromium() -> str:
    """The program of a browser that can be driven; empty where there is none."""
    return next(filter(None, map(shutil.which, _CHROMIUM)), None) or ""


def chromium_flags() -> list[str]:
    """Without what it would ask of other machines; and its sandbox refuses to run as root."""
    return [*_FLAGS, "--no-sandbox"] if os.geteuid() == 0 else list(_FLAGS)


async def stream(url: str, name: str) -> None:
    """One reader of the stream, who comes back when it ends."""
    place = urlsplit(url)
    while True:
        with suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=_LINE_BYTES)
            try:
                # In HTTP/1.0 nothing is put between the lines.
                who = f"Host: {place.netloc}\r\nAuthorization: Bearer {os.environ[TOKEN_VARIABLE]}"
                writer.write(f"GET /events HTTP/1.0\r\n{who}\r\n\r\n".encode())
                while line := await reader.readline():
                    found = _STORED.search(line)
                    if found:
                        _saw(name, int(found[1]), round(time.time() * 1000))
            finally:
                writer.close()
        await asyncio.sleep(_AGAIN_S)


async def browser(url: str, program: str) -> None:
    """A wall display."""
    from playwright.async_api import async_playwright  # an extra for tests

    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=program, args=chromium_flags())
        page = await started.new_page(viewport={"width": 1920, "height": 1080})
        await page.add_init_script(_WATCH)
        await page.goto(f"{url}/?t={os.environ[TOKEN_VARIABLE]}")
        while True:
            await asyncio.sleep(_LOOK_S)
            for stored_at_ms, at_ms in await page.evaluate("painted.splice(0)"):
                _saw("browser", stored_at_ms, at_ms)


async def watch(url: str, streams: int, program: str) -> None:
    async with asyncio.TaskGroup() as group:
        for number in range(1, streams + 1):
            group.create_task(stream(url, f"stream-{number}"))
        if program:
            group.create_task(browser(url, program))


def _saw(who: str, stored_at_ms: int, at_ms: int) -> None:
    if stored_at_ms:  # 0: nothing has been stored since the server's start
        print(who, stored_at_ms, at_ms, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.audience", description="Look at the live page.")
    parser.add_argument("url")
    parser.add_argument("--streams", type=int, default=1, help="readers of the stream that draw nothing (1)")
    parser.add_argument("--chromium", default="", help="program of a real browser; empty: none")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        asyncio.run(watch(given.url, given.streams, given.chromium))
    return 0


if __name__ == "__main__":
    sys.exit(main())
