"""A record from the future, or from long ago, moves no clock: what comes after it is as it would be without it."""

from __future__ import annotations

from datetime import timedelta

from lakehouse.tables import SILVER_EVENTS, SILVER_QUARANTINE
from tests.builders import KAFKA_AT, event, purchase, records
from tests.flow.steps import Lake

AHEAD = event(event_time=(KAFKA_AT + timedelta(days=366)).isoformat())
LONG_AGO = event(event_time="1999-12-31 23:59:59 UTC")


def test_the_store_clock_and_what_memory_holds_stay_where_good_events_have_them(lake: Lake) -> None:
    lake.land(records([event(), AHEAD, LONG_AGO]))
    refinement = lake.refine()
    clock_us = lake.note(SILVER_EVENTS)["clock_us"]
    assert clock_us == refinement._judge.clock.at_us == 1_569_888_000_000_000, "2019-10-01, the one good event"
    lake.land(records([event(), purchase(event_time="2019-10-01 00:00:10 UTC")], first_offset=10))
    lake.refine(refinement)
    lake.aggregate()
    assert refinement.note["quality"]["late"] == 0
    assert [row["units"] for row in lake.sales().values()] == [1]
    reasons = lake.rows(SILVER_QUARANTINE, "offset", "reasons")
    assert reasons == [(1, ("event_time_in_future",)), (2, ("event_time_before_2015",))]
    lake.assert_conserved()
