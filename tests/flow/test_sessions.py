"""Sessions and abandoned carts: what a calculation apart finds, whatever the batches, the order, copies and kills."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from gold.ledger import Ledger
from lakehouse import commits
from lakehouse.errors import SettingError
from lakehouse.streams import Position, Stop
from lakehouse.tables import GOLD_ABANDONED_CARTS, GOLD_FUNNEL, GOLD_ORDERS, SILVER_EVENTS, SILVER_SESSIONS
from silver.sessions_writer import SessionsWriter
from tests.builders import Fields, event, purchase
from tests.crashing import Crash, Crashing
from tests.flow.checks import assert_carts_right
from tests.flow.steps import FakeTopic, Lake
from tests.gold_by_hand import ordered
from tests.sessions_by_hand import sessions_by_hand


def random_events(seed: int, count: int, days: int = 2) -> list[Fields]:
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


def first_look(lake: Lake) -> SessionsWriter:
    """Sessions of a lake without events: what is there at the first look is not taken in by steps."""
    commits.create_tables(lake.spark, (SILVER_EVENTS,), lake.settings)
    return lake.take_sessions()


# Over 30 s: two rounds of five tables.
def test_whatever_the_batches_they_are_what_a_calculation_apart_finds(
    lake: Lake, only: Callable[..., None], file_by_file: None
) -> None:
    only(GOLD_ORDERS, GOLD_FUNNEL)
    values = random_events(1, 120)
    lake.put(values[:60], 0)
    writer, ledger, carts = lake.take_sessions(), lake.keep(), lake.leave()
    for first in (30, 60, 90):  # the first 30 once more
        lake.put(values[first : first + 30], 1000 + first)
    lake.take_sessions_by_stream(writer)
    lake.keep(ledger)
    lake.leave(carts)
    assert_carts_right(lake)
    assert len(lake.rows(GOLD_ABANDONED_CARTS)) > 10
    # As a process that was just started, with nothing new: nothing changes.
    before = [lake.version(table) for table in (SILVER_SESSIONS, GOLD_ABANDONED_CARTS)]
    lake.take_sessions()
    lake.leave()
    assert [lake.version(table) for table in (SILVER_SESSIONS, GOLD_ABANDONED_CARTS)] == before


class Watched(SessionsWriter):
    """Says which road it takes, and after each step along it does what is next."""

    def __init__(self, lake: Lake, then: Iterator[Callable[[], object]]) -> None:
        super().__init__(lake.spark, lake.settings, lake.topic)
        self.roads: list[str] = []
        self._then = then

    def catch_up(self, most_left: int) -> bool:
        if found := super().catch_up(most_left):
            self._took("bulk")
        return found

    def step(self, batch: DataFrame, end: Position) -> None:
        super().step(batch, end)
        self._took("stream")

    def _took(self, road: str) -> None:
        self.roads.append(road)
        next(self._then)()


@pytest.fixture(scope="module")
def five_commits(shared_lake: Lake) -> Lake:
    """Of silver.events, each with 30 events of two days, in no order; silver.sessions has read nothing yet."""
    values = random_events(5, 150)
    first_look(shared_lake)
    for first in range(0, 150, 30):
        shared_lake.put(values[first : first + 30], first)
    return shared_lake


def assert_sessions_right(lake: Lake) -> None:
    """The rows are what a calculation apart finds; each was published, once, in rising revisions of its key."""
    events = lake.read(SILVER_EVENTS)
    wanted = sessions_by_hand(events)
    assert ordered(lake.read(SILVER_SESSIONS, *wanted.column_names)) == ordered(wanted)
    lake.assert_published(SILVER_SESSIONS)
    revisions: dict[str, list[int]] = defaultdict(list)
    for row in lake.topic.by_table[SILVER_SESSIONS]:
        revisions[row["session_key"]].append(row["revision"])
    assert all(each == sorted(set(each)) for each in revisions.values())


@pytest.mark.parametrize("road", ["bulk", "stream"])
def test_by_either_road_the_rows_are_the_same(
    five_commits: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, road: str
) -> None:
    lake = five_commits.copy(tmp_path / "home")
    monkeypatch.setattr("silver.sessions_writer._PIECE_EVENTS", 60)
    writer = lake.take_sessions_by_stream() if road == "stream" else lake.take_sessions()
    assert_sessions_right(lake)
    assert writer.read_version == lake.version(SILVER_EVENTS)
    steps = lake.version(SILVER_SESSIONS) - five_commits.version(SILVER_SESSIONS)
    assert steps == (3 if road == "bulk" else 1)


@pytest.mark.usefixtures("file_by_file")
def test_where_much_comes_the_stream_ends_and_after_it_one_begins_anew(
    five_commits: Lake, spark: SparkSession, tmp_path: Path
) -> None:
    """Each commit is two files, and so two batches of the stream: it is ended, and later stopped, between them."""
    settings = five_commits.settings.model_copy(update={"home": tmp_path / "home", "sessions_bulk_events": 40})
    lake, stop = Lake(spark, settings), Stop()
    commits.create_tables(spark, (SILVER_EVENTS,), settings)

    def come(*versions: int) -> None:
        for version in versions:
            rows, _ = commits.added_rows(spark, SILVER_EVENTS, five_commits.settings, version - 1, version)
            note = commits.note_of(spark, SILVER_EVENTS, five_commits.settings, version)
            assert commits.append(rows.coalesce(1), SILVER_EVENTS, settings, note) == version

    then = iter([lambda: come(3), lambda: come(4), lambda: come(5), stop.set, lambda: None])
    writer = Watched(lake, then)
    come(1, 2)
    writer.follow(stop, once=False)
    assert writer.roads == ["bulk", "stream", "bulk", "stream", "bulk"]
    assert writer.read_version == 5
    assert_sessions_right(lake)


def test_in_order_the_stream_needs_no_second_look(
    lake: Lake, file_by_file: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes in the order of time is right as the operator has it: nothing is computed anew from the table."""
    writer = first_look(lake)
    values = sorted(random_events(2, 120, days=1), key=lambda value: value["event_time"])
    for start in range(0, 120, 40):
        lake.put(values[start : start + 40], start)
    computed: list[Any] = []
    monkeypatch.setattr("silver.sessions_writer.computed_sessions", lambda events, _settings: computed.append(events))
    lake.take_sessions_by_stream(writer)
    events = lake.read(SILVER_EVENTS)
    wanted = sessions_by_hand(events)
    assert ordered(lake.read(SILVER_SESSIONS, *wanted.column_names)) == ordered(wanted)
    assert computed == []


def test_a_session_that_was_let_go_is_gone_on_with(lake: Lake, file_by_file: None) -> None:
    """After more than the day for which it is held; and an event far behind the watermark joins it too."""
    writer = first_look(lake)
    times = ("2019-10-01 10:00:00", "2019-10-05 10:00:00", "2019-10-09 10:00:00", "2019-10-01 09:00:00")
    for number, at in enumerate(times):
        kind = "cart" if number != 2 else "view"
        same = event(event_type=kind, event_time=f"{at} UTC", product_id=number, user_session="s")
        other = event(event_time=f"{at} UTC", user_id=2, user_session=f"other {number}")
        lake.put([same, other], 10 * number)
    lake.take_sessions_by_stream(writer)
    rows = lake.rows(SILVER_SESSIONS, "user_session", "events", "carts", "views", "earlier_abandonments")
    assert rows == [*((f"other {number}", 1, 0, 1, 0) for number in range(4)), ("s", 4, 3, 1, 2)]


def test_a_cart_is_recovered_abandoned_again_and_withdrawn(lake: Lake, only: Callable[..., None]) -> None:
    only(GOLD_ORDERS)
    ledger = Ledger(lake.spark, lake.settings, lake.topic)
    sold = {"product_id": 7, "user_session": "s", "user_id": 1}

    def then(*values: Fields) -> list[tuple[Any, ...]]:
        then.offset += 10  # type: ignore[attr-defined]
        lake.put(list(values), then.offset)  # type: ignore[attr-defined]
        lake.take_sessions()
        lake.keep(ledger)
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
        lake.put(list(values), offset)
        lake.leave()
        lake.assert_published(GOLD_ABANDONED_CARTS)
        found = lake.rows(GOLD_ABANDONED_CARTS, "user_session", "abandoned_at")
        return [(session, str(abandoned_at)[11:16]) for session, abandoned_at in found]

    lake.put([cart("s", "10:00:00"), cart("t", "10:05:00"), cart("u", "10:10:00")], 0)
    lake.take_sessions()
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
    values = random_events(3, 90)
    lake.put(values[:30], 0)
    lake.take_sessions()
    lake.keep()
    lake.leave()
    lake.put(values[30:60], 100)
    lake.put(values[60:], 200)
    for work in (lake.take_sessions, lake.leave):
        for moment, step in (("after", 1), ("before", 2)):
            with monkeypatch.context() as patch, pytest.raises(Crash):
                crash = Crashing(step, moment)
                patch.setattr(commits, "replace", crash.around(commits.replace))
                patch.setattr(FakeTopic, "publish", crash.around(FakeTopic.publish))
                work()
        lake.take_sessions()
        lake.keep()
    lake.leave()
    assert_carts_right(lake)


def test_other_rules_than_the_table_was_made_with_are_refused(lake: Lake) -> None:
    lake.put(random_events(4, 5), 0)
    lake.take_sessions()
    other = Lake(lake.spark, lake.settings.model_copy(update={"cart_abandon_s": 60}), lake.topic)
    with pytest.raises(SettingError, match=r"cart_abandon_s is 60, but silver.sessions was made with 1800"):
        other.take_sessions()
