"""The board of the live page: whole panels, and only news."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from serving.live.board import Board
from serving.live.browser_json import to_json


def test_a_reader_gets_all_panels_and_then_what_is_new() -> None:
    async def read() -> list[Any]:
        board = Board()
        board.put({"a": 1, "b": [Decimal("2.5"), datetime(2026, 1, 2, tzinfo=UTC)]})
        reader, told = board.follow(), list[Any]()
        told.append(json.loads(await anext(reader)))
        waiting = asyncio.ensure_future(anext(reader))
        await asyncio.sleep(0)
        board.put({"a": 1})  # no news
        await asyncio.sleep(0)
        assert not waiting.done()
        board.put({"a": 2})
        told.append(json.loads(await waiting))
        return told

    assert asyncio.run(read()) == [{"a": 1, "b": ["2.50", "2026-01-02T00:00:00Z"]}, {"a": 2}]


def test_ids_beyond_what_a_browser_can_count_are_texts_as_all_ids_are() -> None:
    carts = [{"user_id": 1515915625519380411, "items": ({"product_id": 2**53 + 1}, {"product_id": -7}), "units": 2}]
    told = json.loads(to_json({"carts": carts, "product_id": None}))
    assert told == {
        "carts": [
            {
                "user_id": "1515915625519380411",
                "items": [{"product_id": "9007199254740993"}, {"product_id": "-7"}],
                "units": 2,
            }
        ],
        "product_id": None,
    }


def test_a_slow_reader_misses_what_was_replaced_and_gets_the_newest() -> None:
    async def read() -> Any:
        board = Board()
        board.put({"a": 0, "b": 0})
        reader = board.follow()
        await anext(reader)
        for number in range(1, 100):
            board.put({"a": number})
        return json.loads(await anext(reader))

    assert asyncio.run(read()) == {"a": 99}


def test_every_reader_is_told() -> None:
    async def read() -> list[str]:
        board = Board()
        readers = [board.follow() for _ in range(5)]
        waiting = [asyncio.ensure_future(anext(reader)) for reader in readers]
        await asyncio.sleep(0)
        board.put({"a": None})
        return await asyncio.gather(*waiting)

    assert asyncio.run(read()) == ['{"a":null}'] * 5


def test_a_panel_can_be_asked_for() -> None:
    board = Board()
    board.put({"store": {"is_there": True}})
    assert board.panel("store") == {"is_there": True} and board.panel("health") is None
