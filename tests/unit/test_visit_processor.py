"""The processor of visits, in Spark's tester of processors: it says what the rules say, and lets go when it is time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pyspark.sql import Row
from pyspark.sql.streaming.stateful_processor import ExpiredTimerInfo, TimerValues
from pyspark.sql.streaming.tws_tester import TwsTester

from silver.session_rules import Event, State, advance, from_text, session_key, to_text
from silver.sessions import INPUT, TOLD, VisitProcessor
from tests.session_events import MINUTE_US, RULES, event

ONE, NO_SESSION = (7, "s"), (7, "")
HOLD = RULES.hold_us // MINUTE_US
"""In minutes, as the times of the events are here. The first is 1: the tester's watermark begins at 0."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _OfTwoColumns(VisitProcessor):
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
        initial = [(one, Row(user_id=one[0], session=one[1], state=to_text(state))) for one, state in held]
        self._tester = TwsTester(
            self._processor, initialStateRow=initial or None, timeMode="EventTime", eventTimeExtractor=_event_time_ms
        )

    def take(self, one: tuple[int, str], *events: Event) -> list[dict[str, Any]]:
        return [row.asDict() for row in self.take_rows(one, *events)]

    def take_rows(self, one: tuple[int, str], *events: Event) -> list[Row]:
        return self._tester.test(one, [_input(one, each) for each in events])

    def pass_to(self, minute: float) -> list[tuple[int, str]]:
        return self.pass_to_ms(round(minute * 60_000))

    def pass_to_ms(self, watermark_ms: int) -> list[tuple[int, str]]:
        """Out: whose timers fired."""
        self._processor.fired.clear()
        assert self._tester.setWatermark(watermark_ms) == []
        return list(self._processor.fired)

    def held(self, one: tuple[int, str]) -> State | None:
        value = self._tester.peekValueState("visits", one)
        return from_text(value[0]) if value else None

    def timers_ms(self, one: tuple[int, str]) -> list[int]:
        self._tester.handle.setGroupingKey(one)
        return list(self._tester.handle.listTimers())


def _input(one: tuple[int, str], each: Event) -> Row:
    return Row(**dict(zip(INPUT, (*one, *each), strict=True)), event_at=EPOCH + timedelta(microseconds=each.at_us))


def _event_time_ms(row: Row) -> int:
    return (row.event_at - EPOCH) // timedelta(milliseconds=1)


def _state_of(one: tuple[int, str], *events: Event) -> State:
    return advance(*one, (), events, RULES)[0]


FIRST = [
    event(1, "view", brand="a"),
    event(3, "cart", cents=300, brand="a"),
    event(2, "cart", 2),
    event(4, "purchase", 2),
]
SECOND = [event(60, "cart", 3, brand="b"), event(2.5, "remove_from_cart")]


@pytest.mark.parametrize("one", [ONE, NO_SESSION])
def test_rows_are_those_of_the_rules_in_the_first_batch_and_in_the_next(one: tuple[int, str]) -> None:
    stream = Stream()
    state, first = advance(*one, (), FIRST, RULES)
    assert stream.take(one, *FIRST) == first
    assert stream.held(one) == state
    state, second = advance(*one, state, SECOND, RULES)
    assert stream.take(one, *SECOND) == second
    assert stream.held(one) == state


def test_the_second_batch_adds_to_the_visit_and_counts_only_its_own_as_added() -> None:
    stream = Stream()
    (first,) = stream.take(ONE, *FIRST)
    assert (first["events"], first["added"], first["replaces"]) == (4, 4, [])
    (second,) = stream.take(ONE, *SECOND)
    assert (second["events"], second["added"], second["replaces"]) == (6, 2, [first["session_key"]])
    assert (second["started_us"], second["ended_us"]) == (MINUTE_US, 60 * MINUTE_US)
    assert (second["carts"], second["removes"], second["purchases"], second["revenue_cents"]) == (3, 1, 1, 262)
    assert (second["cart"], second["earlier_abandonments"]) == ([(1, 1, 300), (3, 1, 262)], 1)
    assert second["brands"] == [("", False, True, True), ("a", True, True, False), ("b", False, True, False)]


def test_a_row_has_the_columns_of_the_stream_in_their_order() -> None:
    (row,) = Stream().take_rows(ONE, *FIRST)
    assert row.__fields__ == TOLD.fieldNames()


def test_users_and_sessions_do_not_mix() -> None:
    stream = Stream()
    ones = [ONE, (8, "s"), (7, "t"), NO_SESSION]
    for number, one in enumerate(ones):
        stream.take(one, *(event(1 + minute) for minute in range(number + 1)))
    for number, one in enumerate(ones):
        (row,) = stream.take(one, event(10, "cart"))
        assert (row["user_id"], row["user_session"]) == (one[0], one[1] or None)
        assert (row["events"], row["added"]) == (number + 2, 1)
        assert row["replaces"] == [session_key(*one, MINUTE_US)]


def test_without_a_session_there_are_several_visits_until_an_event_between_joins_them() -> None:
    stream = Stream()
    rows = stream.take(NO_SESSION, event(1), event(41), event(42))
    assert [(row["events"], row["added"], row["replaces"]) for row in rows] == [(1, 1, []), (2, 2, [])]
    (joined,) = stream.take(NO_SESSION, event(21))
    assert (joined["events"], joined["added"]) == (4, 1)
    assert joined["replaces"] == [row["session_key"] for row in rows]
    assert joined["session_key"] == rows[0]["session_key"]
    assert stream.held(NO_SESSION) == _state_of(NO_SESSION, event(1), event(21), event(41), event(42))
    (alone,) = stream.take(NO_SESSION, event(100))
    assert (alone["events"], alone["replaces"]) == (1, [])


@pytest.mark.parametrize("of_a_ms_us", [0, 1, 999])
def test_a_visit_is_let_go_of_when_it_was_silent_for_long_and_no_timer_fires_before(of_a_ms_us: int) -> None:
    stream = Stream()
    last = event(5)._replace(at_us=5 * MINUTE_US + of_a_ms_us)
    stream.take(ONE, last)
    silent_us = last.at_us + RULES.hold_us
    assert stream.pass_to(HOLD) == []
    assert stream.pass_to_ms((silent_us - 1) // 1000) == []
    assert stream.held(ONE) == _state_of(ONE, last)
    assert stream.pass_to_ms(silent_us // 1000 + 1) == [ONE]
    assert stream.held(ONE) is None
    assert stream.timers_ms(ONE) == []


def test_a_visit_that_went_on_gets_its_timer_anew_and_is_not_let_go_of_early() -> None:
    stream = Stream()
    (first,) = stream.take(ONE, event(1))
    stream.take(ONE, event(601))
    assert stream.pass_to(2 + HOLD) == [ONE]
    assert stream.held(ONE) == _state_of(ONE, event(1), event(601))
    assert len(stream.timers_ms(ONE)) == 1
    (row,) = stream.take(ONE, event(3 + HOLD))
    assert (row["events"], row["added"], row["replaces"]) == (3, 1, [first["session_key"]])
    assert stream.pass_to(600 + HOLD) == []
    assert stream.pass_to(602 + HOLD) == [ONE]
    assert stream.held(ONE) == _state_of(ONE, event(1), event(601), event(3 + HOLD))
    assert stream.pass_to(2 + 2 * HOLD) == []
    assert stream.pass_to(4 + 2 * HOLD) == [ONE]
    assert stream.held(ONE) is None


def test_a_visit_that_goes_on_has_one_timer_however_many_batches_it_takes() -> None:
    stream = Stream()
    for minute in range(1, 50):
        stream.take(ONE, event(minute))
    assert len(stream.timers_ms(ONE)) == 1
    assert stream.pass_to(45 + HOLD) == [ONE]
    assert len(stream.timers_ms(ONE)) == 1


def test_after_it_was_let_go_of_a_visit_begins_anew_with_a_timer_of_its_own() -> None:
    stream = Stream()
    stream.take(ONE, *FIRST)
    stream.pass_to(5 + HOLD)
    (row,) = stream.take(ONE, event(6 + HOLD))
    assert (row["events"], row["added"], row["replaces"]) == (1, 1, [])
    assert stream.pass_to(5 + 2 * HOLD) == []
    assert stream.held(ONE) == _state_of(ONE, event(6 + HOLD))
    assert stream.pass_to(7 + 2 * HOLD) == [ONE]
    assert stream.held(ONE) is None


def test_without_a_session_each_visit_is_let_go_of_in_its_own_time() -> None:
    stream = Stream()
    stream.take(NO_SESSION, event(1), event(301), event(601))
    stream.pass_to(2 + HOLD)
    assert stream.held(NO_SESSION) == _state_of(NO_SESSION, event(301), event(601))
    (row,) = stream.take(NO_SESSION, event(3 + HOLD))
    assert (row["events"], row["replaces"]) == (1, [])
    stream.pass_to(302 + HOLD)
    assert stream.held(NO_SESSION) == _state_of(NO_SESSION, event(601), event(3 + HOLD))
    stream.pass_to(602 + HOLD)
    assert stream.held(NO_SESSION) == _state_of(NO_SESSION, event(3 + HOLD))
    stream.pass_to(4 + 2 * HOLD)
    assert stream.held(NO_SESSION) is None


def test_a_timer_lets_go_of_its_own_user_and_session_only() -> None:
    stream = Stream()
    stream.take(ONE, event(1))
    stream.take((8, "s"), event(2))
    assert stream.pass_to(1.5 + HOLD) == [ONE]
    assert stream.held(ONE) is None
    assert stream.held((8, "s")) == _state_of((8, "s"), event(2))


def test_a_visit_that_is_held_at_the_start_is_gone_on_with() -> None:
    stream = Stream((ONE, _state_of(ONE, *FIRST)), (NO_SESSION, _state_of(NO_SESSION, event(1), event(41))))
    _, wanted = advance(*ONE, _state_of(ONE, *FIRST), SECOND, RULES)
    assert stream.take(ONE, *SECOND) == wanted
    assert (wanted[0]["events"], wanted[0]["added"]) == (6, 2)
    (joined,) = stream.take(NO_SESSION, event(21))
    assert (joined["events"], joined["added"], len(joined["replaces"])) == (3, 1, 2)
    (other,) = stream.take((8, "s"), event(1))
    assert other["events"] == 1


def test_a_visit_that_is_held_at_the_start_has_its_timer_too() -> None:
    kept = _state_of(ONE, event(1), event(5))
    stream = Stream((ONE, kept), (NO_SESSION, _state_of(NO_SESSION, event(2), event(600))))
    assert stream.pass_to(1 + HOLD) == []
    assert stream.pass_to(4 + HOLD) == [NO_SESSION]
    assert stream.held(ONE) == kept
    assert stream.held(NO_SESSION) == _state_of(NO_SESSION, event(600))
    assert stream.pass_to(6 + HOLD) == [ONE]
    assert stream.held(ONE) is None
    (row,) = stream.take(ONE, event(7 + HOLD))
    assert row["events"] == 1
    stream.pass_to(601 + HOLD)
    assert stream.held(NO_SESSION) is None


def test_a_visit_that_is_held_at_the_start_and_goes_on_is_not_let_go_of_early() -> None:
    stream = Stream((ONE, _state_of(ONE, event(1))))
    stream.take(ONE, event(601))
    assert len(stream.timers_ms(ONE)) == 1
    stream.pass_to(600 + HOLD)
    assert stream.held(ONE) == _state_of(ONE, event(1), event(601))
    stream.pass_to(602 + HOLD)
    assert stream.held(ONE) is None
