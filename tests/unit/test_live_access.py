"""Who may see the live page: whoever shows its token, and nobody else; where the token is, and where it is shown."""

from __future__ import annotations

import asyncio
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from lakehouse.errors import SettingError
from lakehouse.settings import Settings, load_settings
from operate.live import page_address
from serving.live.access import token_file, token_of
from tests.live_server import BEARER, TOKEN, Answer, served

ROUTES = ("/", "/events", "/state", "/products/1", "/static/page.js", "/static/shared_stream.js", "/nowhere", "//")


def answers(*requests: tuple[str, str], method: str = "GET") -> list[Answer]:
    """:param requests: path, and lines of the head."""

    async def ask() -> list[Answer]:
        async with served() as site:
            return [await site.ask(path, headers, method) for path, headers in requests]

    return asyncio.run(ask())


def test_the_address_with_the_token_leads_to_the_page_and_no_other_address_does() -> None:
    welcome, asked, elsewhere = answers((f"/?t={TOKEN}", ""), ("/", ""), (f"/static/page.js?t={TOKEN}", ""))
    assert (welcome.status, welcome.headers["location"]) == (303, "/")
    cookie, *flags = welcome.headers["set-cookie"].split("; ")
    assert {"httponly", "samesite=strict", "path=/"} <= set(flags) and not any("domain" in each for each in flags)
    assert TOKEN not in welcome.headers["location"] and welcome.headers["referrer-policy"] == "no-referrer"
    assert (asked.status, elsewhere.status) == (401, 401)
    assert b"lakehouse status" in asked.body and asked.headers["content-security-policy"]
    for shown in (f"Cookie: {cookie}\r\n", f"Cookie: other=1; {cookie}\r\n", BEARER):
        found = answers(*((route, shown) for route in ROUTES[:3]))
        assert [each.status for each in found] == [200, 200, 200], shown


@pytest.mark.parametrize(
    "shown",
    [
        "",
        "Authorization: Bearer \r\n",
        "Authorization: Bearer\r\n",
        f"Authorization: Basic {TOKEN}\r\n",
        f"Authorization: Bearer {TOKEN}x\r\n",
        f"Authorization: Bearer {TOKEN[:-1]}\r\n",
        f"Authorization: Bearer {TOKEN.upper()}\r\n",
        "Authorization: Bearer \u00e9\r\n",
        f"Cookie: storefront_live={TOKEN}\r\n",
        f"Cookie: t={TOKEN}\r\n",
        "Cookie: ;;;=\r\n",
        f"X-Token: {TOKEN}\r\n",
    ],
)
def test_every_route_wants_the_token_but_the_one_that_says_that_the_server_is_alive(shown: str) -> None:
    paths = (*ROUTES, f"/?t={TOKEN}x", "/?t=", "/?t=%ff", "/alive")
    *refused, alive = answers(*((path, shown) for path in paths))
    assert {each.status for each in refused} == {401}
    assert (alive.status, alive.body) == (200, b"alive\n")


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "DELETE"])
def test_every_method_wants_the_token(method: str) -> None:
    assert {each.status for each in answers(("/", ""), ("/events", ""), ("/state", ""), method=method)} == {401}


def test_the_token_is_made_once_for_its_owner_alone(settings: Settings) -> None:
    with ThreadPoolExecutor(8) as threads:
        tokens = set(threads.map(lambda _: token_of(settings), range(8)))
    (token,) = tokens
    assert len(token) >= 32 and token_of(settings) == token
    assert token_file(settings).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in token_file(settings).parent.iterdir()] == ["token"]


@pytest.mark.parametrize("by", ["others may read it", "a link"])
def test_a_token_that_others_may_have_read_is_made_anew(settings: Settings, tmp_path: Path, by: str) -> None:
    before, path = token_of(settings), token_file(settings)
    if by == "a link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.chmod(0o644)
    after = token_of(settings)
    assert after != before and not path.is_symlink() and path.stat().st_mode & 0o777 == 0o600


def test_a_token_that_is_given_is_the_token(settings: Settings) -> None:
    given = settings.model_copy(update={"live_token": SecretStr(TOKEN)})
    assert token_of(given) == TOKEN and not token_file(given).exists()
    for bad in ("short", "with a blank in it, 16", "ampersand&ampersand&", "\u00fc" * 16):
        with pytest.raises(SettingError, match="LAKEHOUSE_LIVE_TOKEN") as refused:
            load_settings(live_token=bad)
        assert bad not in str(refused.value)


def test_the_token_is_shown_on_a_terminal_and_in_no_log(settings: Settings) -> None:
    found = settings.model_copy(update={"live_port": 4711})
    ours, terminal = os.openpty()
    with os.fdopen(terminal, "w", encoding="utf-8") as screen:
        assert page_address(found, screen) == f"http://127.0.0.1:4711/?t={token_of(found)}"
    os.close(ours)
    logged = page_address(found, io.StringIO())
    assert token_of(found) not in logged and str(token_file(found)) in logged
