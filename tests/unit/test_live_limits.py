"""The live page's server against those who take and give nothing back: the next browser is served all the same."""

from __future__ import annotations

import asyncio
import itertools
import json

import pytest

from serving.live import connection, streams
from tests.live_server import BEARER, Site, served

SOON_S = 5.0


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE_S", 1.0)


async def until(is_so: object, what: str) -> None:
    end_s = asyncio.get_running_loop().time() + 60
    while not is_so():  # type: ignore[operator]
        assert asyncio.get_running_loop().time() < end_s, what
        await asyncio.sleep(0.02)


async def browsers(site: Site) -> int:
    return int(json.loads((await site.ask("/state")).body)["browsers"])


async def is_served_soon(site: Site) -> None:
    async with asyncio.timeout(SOON_S):
        assert (await site.ask("/")).status == 200
        assert (await site.ask("/events")).body


def test_silent_and_half_asked_connections_keep_nobody_out_and_are_closed() -> None:
    async def scene() -> None:
        async with served() as site:
            for number in range(300):
                _, writer = await site.connect()
                if number % 3:
                    writer.write(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X: y\r\n" * (number % 50))
            await is_served_soon(site)
            assert len(site.server.server_state.connections) <= connection.MOST_WAITING + 5
            await until(lambda: len(site.server.server_state.connections) <= 1, "silent connections stay open")

    asyncio.run(scene())


def test_readers_that_do_not_read_keep_no_stream_from_others() -> None:
    async def scene() -> None:
        async with served() as site:
            most = streams.MOST_BROWSERS
            asleep = [await site.begin("/events") for _ in range(most + 60)]
            assert len(asleep) > most and await browsers(site) <= most
            await is_served_soon(site)
            numbers = itertools.count()

            def are_gone() -> bool:
                """After news of more than the system keeps for them."""
                site.board.put({"filler": str(next(numbers)).zfill(7) * 50_000})
                return len(site.server.server_state.connections) <= 1

            await until(are_gone, "those asleep are still connected")
            assert await browsers(site) == 0
            await is_served_soon(site)

    asyncio.run(scene())


def test_at_once_no_more_streams_are_let_in_than_one_after_the_other() -> None:
    async def scene() -> None:
        async with served() as site:
            await asyncio.gather(*(site.begin("/events") for _ in range(streams.MOST_BROWSERS + 50)))
            assert await browsers(site) <= streams.MOST_BROWSERS

    asyncio.run(scene())


def test_a_head_without_an_end_is_refused() -> None:
    async def scene() -> None:
        async with served() as site:
            reader, writer = await site.connect()
            writer.write(b"GET / HTTP/1.1\r\nX: " + b"x" * 100_000)
            assert b" 400 " in await reader.readline()
            assert (await site.ask("/", BEARER)).status == 200

    asyncio.run(scene())


def test_questions_wait_in_a_short_queue_and_the_others_are_told_to_come_again() -> None:
    """Of a store that takes connections and never answers."""

    async def scene() -> None:
        async def never(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            await asyncio.Event().wait()

        store = await asyncio.start_server(never, "127.0.0.1", 0)
        port = store.sockets[0].getsockname()[1]
        async with served(f"host=127.0.0.1 port={port} dbname=x user=x") as site:
            asked = [asyncio.create_task(site.ask("/products/1")) for _ in range(40)]
            await until(lambda: sum(each.done() for each in asked) >= 17, "all wait")
            refused = [each.result() for each in asked if each.done()]
            assert {each.status for each in refused} == {503} and "retry-after" in refused[0].headers
            assert len(refused) == 17 and (await site.ask("/state")).status == 200
            for each in asked:
                each.cancel()
        store.close()

    asyncio.run(scene())
