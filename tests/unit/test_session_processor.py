"""The processor of sessions, in Spark's tester of processors: it says what the rules say, and lets go in time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import Row
from pyspark.sql.streaming.stateful_processor import ExpiredTimerInfo, TimerValues
from pyspark.sql.streaming.tws_tester import TwsTester

from lakehouse.session_key import session_key
from silver.session_rules import Event, State, advance, from_text, to_text
from silver.session_stream import SessionProcessor
from silver.sessions import RULE_INPUT, RULE_ROWS
from tests.session_events import MINUTE_US, RULES, event

WITH_ID, NO_ID = (7, "s"), (7, "")
HOLD = RULES.hold_us // MINUTE_US
"""In minutes, as the times of the events are here. The first is 1: the tester's watermark begins at 0."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _OfTwoColumns(SessionProcessor):
    """With the key as Spark gives it: the tester knows no key of several columns, and wraps ours. Notes the timers."""

    def __init__(self) -> None:
        super().__init__(RULES)
        self.fired: list[tuple[int, str]] = []

    def handleInputRows(self, key: Any, rows: Iterator[Row], timerValues: TimerValues) -> Iterator[Row]:
        yield from super().handleInputRows(key[0], rows, timerValues)

    def handleInitialState(self, key: Any, initialState: Row, timerValues: TimerValues) -> None:
        super().handleInitialState(key[0], initialState, timerValues)

    def handleExpiredTimer(
        self, key: Any, timerValues: TimerValues, expiredTimerInfo: ExpiredTimerInfo
    ) -> Iterator[Row]:
        self.fired.append(key[0])
        return super().handleExpiredTimer(key[0], timerValues, expiredTimerInfo)


class Stream:
    """Of one processor. Times are in minutes, and in milliseconds where the name says so."""

    def __init__(self, *held: tuple[tuple[int, str], State]) -> None:
        self._processor = _OfTwoColumns()
        initial = [(key, Row(user_id=key[0], session_id=key[1], state=to_text(state))) for key, state in held]
        self._tester = TwsTester(
            self._processor, initialStateRow=initial or None, timeMode="EventTime", eventTimeExtractor=_event_time_ms
        )

    def take(self, key: tuple[int, str], *events: Event) -> list[dict[str, Any]]:
        return [row.asDict() for row in self.take_rows(key, *events)]

    def take_rows(self, key: tuple[int, str], *events: Event) -> list[Row]:
        return self._tester.test(key, [_input(key, each) for each in events])

    def pass_to(self, minute: float) -> list[tuple[int, str]]:
        return self.pass_to_ms(round(minute * 60_000))

    def pass_to_ms(self, watermark_ms: int) -> list[tuple[int, str]]:
        """Out: whose timers fired."""
        self._processor.fired.clear()
        assert self._tester.setWatermark(watermark_ms) == []
        return list(self._processor.fired)

    def held(self, key: tuple[int, str]) -> State | None:
        value = self._tester.peekValueState("visits", key)
        return from_text(value[0]) if value else None

    def timers_ms(self, key: tuple[int, str]) -> list[int]:
        self._tester.handle.setGroupingKey(key)
        return list(self._tester.handle.listTimers())


def _input(key: tuple[int, str], each: Event) -> Row:
    return Row(**dict(zip(RULE_INPUT, (*key, *each), strict=True)), event_at=EPOCH + timedelta(microseconds=each.at_us))


def _event_time_ms(row: Row) -> int:
    return (row.event_at - EPOCH) // timedelta(milliseconds=1)


def _state_of(key: tuple[int, str], *events: Event) -> State:
    return advance(*key, (), events, RULES)[0]


FIRST = [
    event(1, "view", brand="a"),
    event(3, "cart", cents=300, brand="a"),
    event(2, "cart", 2),
    event(4, "purchase", 2),
]
SECOND = [event(60, "cart", 3, brand="b"), event(2.5, "remove_from_cart")]


@pytest.mark.parametrize("key", [WITH_ID, NO_ID])
def test_rows_are_those_of_the_rules_in_the_first_batch_and_in_the_next(key: tuple[int, str]) -> None:
    stream = Stream()
    state, first = advance(*key, (), FIRST, RULES)
    assert stream.take(key, *FIRST) == first
    assert stream.held(key) == state
    state, second = advance(*key, state, SECOND, RULES)
    assert stream.take(key, *SECOND) == second
    assert stream.held(key) == state


def test_the_second_batch_adds_to_the_session_and_counts_only_its_own_as_added() -> None:
    stream = Stream()
    (first,) = stream.take(WITH_ID, *FIRST)
    assert (first["events"], first["added"], first["replaces"]) == (4, 4, [])
    (second,) = stream.take(WITH_ID, *SECOND)
    assert (second["events"], second["added"], second["replaces"]) == (6, 2, [first["session_key"]])
    assert (second["started_us"], second["ended_us"]) == (MINUTE_US, 60 * MINUTE_US)
    assert (second["carts"], second["removes"], second["purchases"], second["revenue_cents"]) == (3, 1, 1, 262)
    assert (second["cart"], second["earlier_abandonments"]) == ([(1, 1, 300), (3, 1, 262)], 1)
    assert second["brands"] == [("", False, True, True), ("a", True, True, False), ("b", False, True, False)]


def test_a_row_has_the_columns_of_the_stream_in_their_order() -> None:
    (row,) = Stream().take_rows(WITH_ID, *FIRST)
    assert row.__fields__ == RULE_ROWS.fieldNames()


def test_users_and_sessions_do_not_mix() -> None:
    stream = Stream()
    keys = [WITH_ID, (8, "s"), (7, "t"), NO_ID]
    for number, key in enumerate(keys):
        stream.take(key, *(event(1 + minute) for minute in range(number + 1)))
    for number, key in enumerate(keys):
        (row,) = stream.take(key, event(10, "cart"))
        assert (row["user_id"], row["user_session"]) == (key[0], key[1] or None)
        assert (row["events"], row["added"]) == (number + 2, 1)
        assert row["replaces"] == [session_key(*key, MINUTE_US)]


def test_without_a_session_id_there_are_several_sessions_until_an_event_between_joins_them() -> None:
    stream = Stream()
    rows = stream.take(NO_ID, event(1), event(41), event(42))
    assert [(row["events"], row["added"], row["replaces"]) for row in rows] == [(1, 1, []), (2, 2, [])]
    (joined,) = stream.take(NO_ID, event(21))
    assert (joined["events"], joined["added"]) == (4, 1)
    assert joined["replaces"] == [row["session_key"] for row in rows]
    assert joined["session_key"] == rows[0]["session_key"]
    assert stream.held(NO_ID) == _state_of(NO_ID, event(1), event(21), event(41), event(42))
    (alone,) = stream.take(NO_ID, event(100))
    assert (alone["events"], alone["replaces"]) == (1, [])


@pytest.mark.parametrize("of_a_ms_us", [0, 1, 999])
def test_a_session_is_let_go_of_when_it_was_silent_for_long_and_no_timer_fires_before(of_a_ms_us: int) -> None:
    stream = Stream()
    last = event(5)._replace(at_us=5 * MINUTE_US + of_a_ms_us)
    stream.take(WITH_ID, last)
    silent_us = last.at_us + RULES.hold_us
    assert stream.pass_to(HOLD) == []
    assert stream.pass_to_ms((silent_us - 1) // 1000) == []
    assert stream.held(WITH_ID) == _state_of(WITH_ID, last)
    assert stream.pass_to_ms(silent_us // 1000 + 1) == [WITH_ID]
    assert stream.held(WITH_ID) is None
    assert stream.timers_ms(WITH_ID) == []


def test_a_session_that_went_on_gets_its_timer_anew_and_is_not_let_go_of_early() -> None:
    stream = Stream()
    (first,) = stream.take(WITH_ID, event(1))
    stream.take(WITH_ID, event(601))
    assert stream.pass_to(2 + HOLD) == [WITH_ID]
    assert stream.held(WITH_ID) == _state_of(WITH_ID, event(1), event(601))
    assert len(stream.timers_ms(WITH_ID)) == 1
    (row,) = stream.take(WITH_ID, event(3 + HOLD))
    assert (row["events"], row["added"], row["replaces"]) == (3, 1, [first["session_key"]])
    assert stream.pass_to(600 + HOLD) == []
    assert stream.pass_to(602 + HOLD) == [WITH_ID]
    assert stream.held(WITH_ID) == _state_of(WITH_ID, event(1), event(601), event(3 + HOLD))
    assert stream.pass_to(2 + 2 * HOLD) == []
    assert stream.pass_to(4 + 2 * HOLD) == [WITH_ID]
    assert stream.held(WITH_ID) is None


def test_a_session_that_goes_on_has_one_timer_however_many_batches_it_takes() -> None:
    stream = Stream()
    for minute in range(1, 50):
        stream.take(WITH_ID, event(minute))
    assert len(stream.timers_ms(WITH_ID)) == 1
    assert stream.pass_to(45 + HOLD) == [WITH_ID]
    assert len(stream.timers_ms(WITH_ID)) == 1


def test_after_it_was_let_go_of_a_session_begins_anew_with_a_timer_of_its_own() -> None:
    stream = Stream()
    stream.take(WITH_ID, *FIRST)
    stream.pass_to(5 + HOLD)
    (row,) = stream.take(WITH_ID, event(6 + HOLD))
    assert (row["events"], row["added"], row["replaces"]) == (1, 1, [])
    assert stream.pass_to(5 + 2 * HOLD) == []
    assert stream.held(WITH_ID) == _state_of(WITH_ID, event(6 + HOLD))
    assert stream.pass_to(7 + 2 * HOLD) == [WITH_ID]
    assert stream.held(WITH_ID) is None


def test_without_a_session_id_each_session_is_let_go_of_in_its_own_time() -> None:
    stream = Stream()
    stream.take(NO_ID, event(1), event(301), event(601))
    stream.pass_to(2 + HOLD)
    assert stream.held(NO_ID) == _state_of(NO_ID, event(301), event(601))
    (row,) = stream.take(NO_ID, event(3 + HOLD))
    assert (row["events"], row["replaces"]) == (1, [])
    stream.pass_to(302 + HOLD)
    assert stream.held(NO_ID) == _state_of(NO_ID, event(601), event(3 + HOLD))
    stream.pass_to(602 + HOLD)
    assert stream.held(NO_ID) == _state_of(NO_ID, event(3 + HOLD))
    stream.pass_to(4 + 2 * HOLD)
    assert stream.held(NO_ID) is None


def test_a_timer_lets_go_of_its_own_user_and_session_id_only() -> None:
    stream = Stream()
    stream.take(WITH_ID, event(1))
    stream.take((8, "s"), event(2))
    assert stream.pass_to(1.5 + HOLD) == [WITH_ID]
    assert stream.held(WITH_ID) is None
    assert stream.held((8, "s")) == _state_of((8, "s"), event(2))


def test_a_session_that_is_held_at_the_start_is_gone_on_with() -> None:
    stream = Stream((WITH_ID, _state_of(WITH_ID, *FIRST)), (NO_ID, _state_of(NO_ID, event(1), event(41))))
    _, wanted = advance(*WITH_ID, _state_of(WITH_ID, *FIRST), SECOND, RULES)
    assert stream.take(WITH_ID, *SECOND) == wanted
    assert (wanted[0]["events"], wanted[0]["added"]) == (6, 2)
    (joined,) = stream.take(NO_ID, event(21))
    assert (joined["events"], joined["added"], len(joined["replaces"])) == (3, 1, 2)
    (other,) = stream.take((8, "s"), event(1))
    assert other["events"] == 1


def test_a_session_that_is_held_at_the_start_has_its_timer_too() -> None:
    kept = _state_of(WITH_ID, event(1), event(5))
    stream = Stream((WITH_ID, kept), (NO_ID, _state_of(NO_ID, event(2), event(600))))
    assert stream.pass_to(1 + HOLD) == []
    assert stream.pass_to(4 + HOLD) == [NO_ID]
    assert stream.held(WITH_ID) == kept
    assert stream.held(NO_ID) == _state_of(NO_ID, event(600))
    assert stream.pass_to(6 + HOLD) == [WITH_ID]
    assert stream.held(WITH_ID) is None
    (row,) = stream.take(WITH_ID, event(7 + HOLD))
    assert row["events"] == 1
    stream.pass_to(601 + HOLD)
    assert stream.held(NO_ID) is None


def test_a_session_that_is_held_at_the_start_and_goes_on_is_not_let_go_of_early() -> None:
    stream = Stream((WITH_ID, _state_of(WITH_ID, event(1))))
    stream.take(WITH_ID, event(601))
    assert len(stream.timers_ms(WITH_ID)) == 1
    stream.pass_to(600 + HOLD)
    assert stream.held(WITH_ID) == _state_of(WITH_ID, event(1), event(601))
    stream.pass_to(602 + HOLD)
    assert stream.held(WITH_ID) is None
