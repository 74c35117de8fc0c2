"""Sessions as a stream with state: `session_rules` in Spark, with a state store and timers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.streaming.stateful_processor import (
    ExpiredTimerInfo,
    StatefulProcessor,
    StatefulProcessorHandle,
    TimerValues,
)

from lakehouse.event_contract import VIEW
from lakehouse.settings import Settings
from silver.session_rules import Event, Rules, State, advance, expires_us, from_text, still_held, to_text
from silver.sessions import KEY, RULE_ROWS, rule_input, rules_of


def is_streamed() -> Column:
    """Which rows of silver.events does the stream take? A view in a session with an id changes no cart, and what it
    adds to the row needs no order: it is added without the stream, whose price is by the session (`session_views`).
    """
    return (F.col("event_type") != VIEW) | F.col("user_session").isNull()


def session_stream(events: DataFrame, held: DataFrame, settings: Settings) -> DataFrame:
    """The sessions whose carts each micro-batch changes, as RULE_ROWS, of the events that are streamed.

    Events behind the watermark are dropped here, and sessions that are held no longer begin anew: `session_reconcile`
    finds both, and they are computed again.

    :param events: a stream of rows of silver.events.
    :param held: the sessions that are held at the start: KEY and `state`.
    """
    keyed = (
        rule_input(events.where(is_streamed())).withWatermark("event_at", f"{settings.late_s} seconds").groupBy(*KEY)
    )
    processor = SessionProcessor(rules_of(settings))
    return keyed.transformWithState(processor, RULE_ROWS, "Update", "EventTime", held.groupBy(*KEY))


def held_states(spark: SparkSession, events: list[tuple[Any, ...]], rules: Rules) -> DataFrame:
    """In: RULE_INPUT of the events of sessions that are to be held. Out: their states, for a stream."""
    by_key: dict[tuple[int, str], list[Event]] = {}
    for user_id, session_id, *event in events:
        by_key.setdefault((user_id, session_id), []).append(Event(*event))
    states = [(*key, to_text(advance(*key, (), its_events, rules)[0])) for key, its_events in by_key.items()]
    columns = zip(*states, strict=True) if states else ((), (), ())
    kinds = (pa.int64(), pa.string(), pa.string())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    return spark.createDataFrame(pa.table(arrays, names=[*KEY, "state"]))


class SessionProcessor(StatefulProcessor):
    """The rules, with a state store for the state and a timer that clears it."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def init(self, handle: StatefulProcessorHandle) -> None:
        self._handle = handle
        self._held = handle.getValueState("visits", "state string")

    def handleInputRows(self, key: Any, rows: Iterator[Row], timerValues: TimerValues) -> Iterator[Row]:
        user_id, session_id = key
        held = self._held.get()
        state = from_text(held[0]) if held else ()
        events = [Event(*(row[name] for name in Event._fields)) for row in rows]
        state, changed = advance(user_id, session_id, state, events, self._rules)
        self._held.update((to_text(state),))
        if held is None:
            self._set_timer(state)
        for row in changed:
            yield Row(**row)

    def handleInitialState(self, key: Any, initialState: Row, timerValues: TimerValues) -> None:
        self._held.update((initialState["state"],))
        self._set_timer(from_text(initialState["state"]))

    def handleExpiredTimer(
        self,
        key: Any,
        timerValues: TimerValues,
        expiredTimerInfo: ExpiredTimerInfo,
    ) -> Iterator[Row]:
        """Lets go of sessions without events for long. Of one that goes on the timer is set anew, not at each event."""
        held = self._held.get()
        if held is not None:
            state = still_held(from_text(held[0]), timerValues.getCurrentWatermarkInMs() * 1000, self._rules)
            if state:
                self._held.update((to_text(state),))
                self._set_timer(state)
            else:
                self._held.clear()
        return iter(())

    def close(self) -> None:
        pass

    def _set_timer(self, state: State) -> None:
        # A millisecond later, for the time is rounded down.
        self._handle.registerTimer(min(expires_us(session, self._rules) for session in state) // 1000 + 1)
