"""The rules of sessions: whatever the order and the batches, a state says the same; and what it says is as defined."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.session_key import session_key
from silver.session_rules import Event, Row, State, advance, from_text, still_held, to_text
from tests.session_events import EVENTS, MINUTE_US, RULES, event


def one_row(*events: Event) -> Row:
    _, (row,) = advance(7, "s", (), events, RULES)
    return row


def cart_of(*events: Event) -> list[tuple[int, int, int]]:
    return [tuple(item) for item in one_row(*events)["cart"]]


def test_a_session_counts_its_events_and_what_was_paid() -> None:
    row = one_row(
        event(0, "view", brand="a"),
        event(1, "cart", brand="a"),
        event(2, "purchase", cents=262, brand="b"),
        event(3, "purchase", cents=0),
        event(4, "purchase", cents=-100),
        event(5, "remove_from_cart"),
    )
    counted = ("events", "views", "carts", "removes", "purchases", "revenue_cents")
    assert [row[name] for name in counted] == [6, 1, 1, 1, 3, 262]
    assert (row["started_us"], row["ended_us"], row["last_cart_change_us"]) == (0, 5 * MINUTE_US, 5 * MINUTE_US)
    assert row["brands"] == [("", False, False, False), ("a", True, True, False), ("b", False, False, True)]


@pytest.mark.parametrize(
    ("events", "cart"),
    [
        ([], []),
        ([event(1, "cart"), event(2, "cart", cents=300)], [(1, 2, 300)]),
        ([event(1, "remove_from_cart"), event(2, "cart")], [(1, 1, 262)]),  # below zero it never goes
        ([event(1, "cart"), event(2, "purchase")], []),
        ([event(1, "cart"), event(2, "purchase", cents=-5)], [(1, 1, 262)]),  # a refund
        ([event(1, "cart"), event(2, "purchase", cents=0)], []),
        ([event(1, "cart", 2), event(1, "cart", 1)], [(1, 1, 262), (2, 1, 262)]),
        ([event(1, "remove_from_cart"), event(1, "cart")], []),  # of one moment: cart, remove, purchase
        ([event(1, "cart"), event(1, "cart", cents=9, id_="z")], [(1, 2, 9)]),
    ],
)
def test_a_cart_holds_what_was_put_in_less_what_went(events: list[Event], cart: list[Any]) -> None:
    assert cart_of(event(0), *events) == cart


@pytest.mark.parametrize(("later", "abandonments"), [(30, 1), (29.99, 0)])
def test_a_cart_is_abandoned_when_nothing_changes_it_for_half_an_hour(later: float, abandonments: int) -> None:
    row = one_row(event(0, "cart"), event(1, "view"), event(later, "cart", 2), event(later + 1, "remove_from_cart", 2))
    assert row["earlier_abandonments"] == abandonments
    assert row["earlier_abandoned_us"] == (30 * MINUTE_US if abandonments else None)
    assert row["earlier_cart"] == ([(1, 1, 262)] if abandonments else [])
    assert row["earlier_cart_cents"] == (262 if abandonments else 0)


def test_an_empty_cart_is_not_abandoned_and_the_newest_time_counts() -> None:
    row = one_row(
        *(event(0, "cart"), event(1, "purchase"), event(60, "cart", 2), event(120, "cart", 3), event(180, "view")),
        event(240, "purchase", 2),
    )
    assert (row["earlier_abandonments"], row["earlier_abandoned_us"]) == (2, 150 * MINUTE_US)
    assert [item[0] for item in row["earlier_cart"]] == [2, 3]


def test_without_a_session_id_a_session_ends_where_there_is_a_gap() -> None:
    _, rows = advance(7, "", (), [event(0), event(29.99), event(59.99), event(200)], RULES)
    assert [row["events"] for row in rows] == [2, 1, 1]
    assert [row["user_session"] for row in rows] == [None, None, None]
    _, (row,) = advance(7, "s", (), [event(0), event(29.99), event(59.99), event(200)], RULES)
    assert row["events"] == 4


def test_an_event_between_makes_one_session_of_two_and_the_old_keys_are_told() -> None:
    state, rows = advance(7, "", (), [event(0), event(40)], RULES)
    keys = [row["session_key"] for row in rows]
    _, (row,) = advance(7, "", state, [event(20)], RULES)
    assert (row["events"], row["added"], row["replaces"]) == (3, 1, keys)
    assert row["session_key"] == keys[0]
    _, (row,) = advance(7, "", state, [event(-5)], RULES)
    assert row["session_key"] == session_key(7, "", -5 * MINUTE_US) and row["replaces"] == keys[:1]


def test_keys_are_told_apart_whatever_a_session_is_called() -> None:
    keys = {
        session_key(*each) for each in [(1, "", 5), (1, "start|5", 5), (1, "5", 5), (11, "", 5), (1, "1|session|5", 5)]
    }
    assert len(keys) == 5
    assert session_key(1, "s", 5) == session_key(1, "s", 6)
    assert session_key(463240011, "26dd6e6e-4dac-4778-8d2c-92e149dab885", 0) == "0f6a01fc00dcb81d6f9530b0771d5be9"


def test_a_session_is_held_until_its_last_event_is_long_ago() -> None:
    state, _ = advance(7, "", (), [event(0), event(600)], RULES)
    until_us = RULES.hold_us + 5 * MINUTE_US
    assert still_held(state, until_us, RULES) == state[1:]
    assert still_held(state, until_us + 600 * MINUTE_US, RULES) == ()
    assert still_held(state, RULES.hold_us - 1, RULES) == state


def test_a_state_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 2"):
        from_text("[2,[]]")


@given(EVENTS, st.sampled_from(["", "s"]), st.integers(0, 2**32))
def test_order_and_batches_change_nothing(events: list[Event], session: str, seed: int) -> None:
    draw = random.Random(seed)
    _, wanted = advance(7, session, (), events, RULES)
    state: State = ()
    told: dict[str, Row] = {}
    batches: list[list[Event]] = []
    for each in draw.sample(events, len(events)):
        if not batches or draw.random() < 0.4:
            batches.append([])
        batches[-1].append(each)
    for batch in batches:
        state, rows = advance(7, session, from_text(to_text(state)), batch, RULES)
        for row in rows:
            for key in row["replaces"]:
                told.pop(key, None)
            told[row["session_key"]] = row
    plain = [{name: value for name, value in row.items() if name not in ("added", "replaces")} for row in wanted]
    found = sorted(told.values(), key=lambda row: row["started_us"])
    assert [{name: row[name] for name in row if name not in ("added", "replaces")} for row in found] == plain
    assert sum(row["events"] for row in wanted) == len(events)
