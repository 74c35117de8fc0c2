"""Sessions and abandoned carts: what a calculation apart finds, whatever the batches, the order, copies and kills."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from lakehouse import commits
from lakehouse.clock import at_us
from lakehouse.errors import SettingError
from lakehouse.tables import GOLD_ABANDONED_CARTS, GOLD_FUNNEL, GOLD_ORDERS, SILVER_EVENTS, SILVER_SESSIONS, Table
from tests.builders import Fields, event, purchase, records
from tests.flow.steps import FakeTopic, Lake
from tests.flow.test_crashes import Crash, Crashing
from tests.gold_by_hand import ordered
from tests.visits_by_hand import sessions_by_hand, visits_by_hand


def visits(seed: int, count: int, days: int = 2) -> list[Fields]:
    """Few customers and products over some days, half of the events without a session, many at one moment."""
    draw = random.Random(seed)

    def one(number: int) -> Fields:
        kind = draw.choice(["view", "cart", "cart", "remove_from_cart", "purchase"])
        minute = draw.randrange(days * 24 * 12) * 5
        return event(
            event_type=kind,
            event_time=f"2019-10-{1 + minute // 1440:02} {minute // 60 % 24:02}:{minute % 60:02}:0{number % 2} UTC",
            product_id=draw.randint(1, 3),
            brand=draw.choice([None, "runail", "irisk"]),
            price=draw.choice(["2.62", "0.01", "0.00"] + ["-1.50"] * (kind == "purchase")),
            user_id=draw.randint(1, 4),
            user_session=draw.choice([None, None, "s1", "s2", "s3"]),
        )

    return [one(number) for number in range(count)]


def fed(lake: Lake, values: list[Fields], first_offset: int) -> None:
    lake.land_later(records(values, first_offset=first_offset))
    lake.refine()


def assert_right(lake: Lake) -> None:
    """Each table is what a calculation apart finds, at the clock that it has noted, and so is its topic."""
    events = commits.read_table(lake.spark, SILVER_EVENTS, lake.settings).toArrow()
    clock = at_us(lake.note(GOLD_ABANDONED_CARTS)["clock_us"])
    for table in (SILVER_SESSIONS, GOLD_ABANDONED_CARTS, GOLD_FUNNEL):
        wanted = visits_by_hand(table.name, events, clock)
        assert ordered(found_in(lake, table, wanted.column_names)) == ordered(wanted), table.name
        lake.assert_published(table)


def found_in(lake: Lake, table: Table, columns: list[str]) -> pa.Table:
    return commits.read_table(lake.spark, table, lake.settings).select(*columns).toArrow()


# Over 30 s: three rounds of five tables, one batch per commit.
def test_whatever_the_batches_they_are_what_a_calculation_apart_finds(
    lake: Lake, only: Callable[..., None], file_by_file: None
) -> None:
    only(GOLD_ORDERS, GOLD_FUNNEL)
    values = visits(1, 120)
    visiting, ledger, carts = None, None, None
    for number, (start, end) in enumerate(((0, 60), (30, 120))):  # 30 come twice
        for lot in range(start, end, 30):
            fed(lake, values[lot : lot + 30], 1000 * number + lot)
        visiting, ledger, carts = lake.visit(visiting), lake.keep(ledger), lake.leave(carts)
        assert_right(lake)
    assert len(found_in(lake, GOLD_ABANDONED_CARTS, ["session_key"])) > 10
    # As a process that was just started, with nothing new: nothing changes.
    before = [lake.version(table) for table in (SILVER_SESSIONS, GOLD_ABANDONED_CARTS)]
    lake.visit()
    lake.leave()
    assert [lake.version(table) for table in (SILVER_SESSIONS, GOLD_ABANDONED_CARTS)] == before


def test_in_order_the_stream_needs_no_second_look(
    lake: Lake, file_by_file: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes in the order of time is right as the operator has it: nothing is computed anew from the table."""
    values = sorted(visits(2, 120, days=1), key=lambda value: value["event_time"])
    for start in range(0, 120, 30):
        fed(lake, values[start : start + 30], start)
    computed: list[Any] = []
    monkeypatch.setattr("silver.visits.told_sessions", lambda events, _settings: computed.append(events))
    lake.visit()
    events = commits.read_table(lake.spark, SILVER_EVENTS, lake.settings).toArrow()
    wanted = sessions_by_hand(events)
    assert ordered(found_in(lake, SILVER_SESSIONS, wanted.column_names)) == ordered(wanted)
    assert computed == []


def test_a_visit_that_was_let_go_is_gone_on_with(lake: Lake, file_by_file: None) -> None:
    """After more than the day for which it is held; and an event far behind the watermark joins it too."""
    times = ("2019-10-01 10:00:00", "2019-10-05 10:00:00", "2019-10-09 10:00:00", "2019-10-01 09:00:00")
    for number, at in enumerate(times):
        kind = "cart" if number != 2 else "view"
        same = event(event_type=kind, event_time=f"{at} UTC", product_id=number, user_session="s")
        other = event(event_time=f"{at} UTC", user_id=2, user_session=f"other {number}")
        fed(lake, [same, other], 10 * number)
    lake.visit()
    rows = lake.rows(SILVER_SESSIONS, "user_session", "events", "carts", "views", "earlier_abandonments")
    assert rows == [*((f"other {number}", 1, 0, 1, 0) for number in range(4)), ("s", 4, 3, 1, 2)]


def test_a_cart_is_recovered_abandoned_again_and_withdrawn(lake: Lake, only: Callable[..., None]) -> None:
    only(GOLD_ORDERS)
    sold = {"product_id": 7, "user_session": "s", "user_id": 1}

    def then(*values: Fields) -> list[tuple[Any, ...]]:
        then.offset += 10  # type: ignore[attr-defined]
        fed(lake, list(values), then.offset)  # type: ignore[attr-defined]
        lake.visit()
        lake.keep()
        lake.leave()
        lake.assert_published(GOLD_ABANDONED_CARTS)
        names = ("abandonments", "abandoned_at", "recovered_at", "cart_value")
        return [tuple(map(str, row)) for row in lake.rows(GOLD_ABANDONED_CARTS, *names)]

    then.offset = 0  # type: ignore[attr-defined]
    at = "2019-10-01 {} UTC".format
    tick = event(user_id=9, user_session="t", event_time=at("10:29:59"))
    assert then(event(event_type="cart", event_time=at("10:00:00"), **sold), tick) == []
    left = ("1", "2019-10-01 10:30:00+00:00")
    assert then(event(user_id=9, user_session="t", event_time=at("10:30:00"))) == [(*left, "None", "2.62")]
    other = purchase(event_time=at("11:00:00"), product_id=7, user_id=1, user_session="another")
    assert then(other) == [(*left, "2019-10-01 11:00:00+00:00", "2.62")]
    again = [event(event_type="cart", event_time=at("12:00:00"), **sold), event(event_time=at("12:30:00"), user_id=9)]
    assert then(*again) == [("2", "2019-10-01 12:30:00+00:00", "None", "5.24")]
    # Late events show that nothing was ever left: the cart had been emptied in time, both times.
    emptied = [event(event_type="remove_from_cart", event_time=at(f"{hour}:00:01"), **sold) for hour in (10, 12)]
    assert then(*emptied) == []
    assert lake.topic.gone[GOLD_ABANDONED_CARTS]


def test_while_sessions_are_behind_a_cart_is_judged_by_the_event_that_touched_it(
    lake: Lake, only: Callable[..., None]
) -> None:
    only(GOLD_ORDERS)
    at = "2019-10-01 {} UTC".format

    def cart(session: str, time_: str) -> Fields:
        return event(event_type="cart", event_time=at(time_), user_id=ord(session), user_session=session)

    def left(*values: Fields, offset: int) -> list[tuple[str, str]]:
        fed(lake, list(values), offset)
        lake.leave()
        lake.assert_published(GOLD_ABANDONED_CARTS)
        found = lake.rows(GOLD_ABANDONED_CARTS, "user_session", "abandoned_at")
        return [(session, str(abandoned_at)[11:16]) for session, abandoned_at in found]

    fed(lake, [cart("s", "10:00:00"), cart("t", "10:05:00"), cart("u", "10:10:00")], 0)
    lake.visit()
    lake.keep()
    # Sessions take in no more. `t` is touched in time; `s` after it was left, which withdraws nothing.
    assert left(cart("t", "10:20:00"), offset=10) == []
    assert left(event(event_time=at("10:36:00")), offset=20) == [("s", "10:30")]
    assert left(cart("s", "10:37:00"), event(event_time=at("10:41:00")), offset=30) == [("s", "10:30"), ("u", "10:40")]
    assert not lake.topic.gone[GOLD_ABANDONED_CARTS]


# Over 30 s: a round is killed at each of its steps, and each time the next process goes on.
def test_killed_between_any_two_steps_the_next_process_goes_on(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, only: Callable[..., None], file_by_file: None
) -> None:
    only(GOLD_ORDERS, GOLD_FUNNEL)
    values = visits(3, 90)
    fed(lake, values[:30], 0)
    lake.visit()
    lake.keep()
    lake.leave()
    fed(lake, values[30:60], 100)
    fed(lake, values[60:], 200)
    for work in (lake.visit, lake.leave):
        for moment, step in (("after", 1), ("before", 2)):
            with monkeypatch.context() as patch, pytest.raises(Crash):
                crash = Crashing(step, moment)
                patch.setattr(commits, "replace", crash.around(commits.replace))
                patch.setattr(FakeTopic, "publish", crash.around(FakeTopic.publish))
                work()
        lake.visit()
        lake.keep()
    lake.leave()
    assert_right(lake)


def test_other_rules_than_the_table_was_made_with_are_refused(lake: Lake) -> None:
    fed(lake, visits(4, 5), 0)
    lake.visit()
    other = Lake(lake.spark, lake.settings.model_copy(update={"cart_abandon_s": 60}), lake.topic)
    with pytest.raises(SettingError, match=r"cart_abandon_s is 60, but silver.sessions was made with 1800"):
        other.visit()
