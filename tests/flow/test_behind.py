"""How far tables are behind what they are made of, as the audit and a user are told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lakehouse.tables import (
    BRONZE_EVENTS,
    GOLD_ABANDONED_CARTS,
    GOLD_ORDERS,
    GOLD_PRODUCT_SALES,
    SILVER_EVENTS,
    SILVER_SESSIONS,
)
from operate.behind import SLOW_LATE_S, STARTING_S, Behind, carts_behind, gold_behind, silver_behind
from operate.lake import commits_of
from tests.builders import event, purchase, records
from tests.flow.steps import Lake, keep_only

NOW_S = 1_000_000.0


@pytest.mark.parametrize(
    ("behind", "began_s", "is_late"),
    [
        (Behind("t", 1, NOW_S - 61), 0.0, True),
        (Behind("t", 1, NOW_S - 59), 0.0, False),
        (Behind("t", 1, NOW_S - 61, SLOW_LATE_S), 0.0, False),
        (Behind("t", 1, NOW_S - 121, SLOW_LATE_S), 0.0, True),
        (Behind("t", 1, NOW_S - 9999), None, False),  # nothing runs
        (Behind("t", 1, NOW_S - 9999), NOW_S - STARTING_S - 59, False),  # a run has its time to start
        (Behind("t", 1, NOW_S - 9999), NOW_S - STARTING_S - 61, True),
        (Behind("t", 1), 0.0, False),  # since when is not known
    ],
)
def test_what_has_waited_too_long_while_something_runs_is_late(
    behind: Behind, began_s: float | None, is_late: bool
) -> None:
    assert behind.is_late(NOW_S, began_s) is is_late


def test_each_table_waits_for_what_it_has_not_taken_in(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def waiting() -> tuple[int, set[int]]:
        found = (each.waiting for each in gold_behind(lake.settings) if each.table in kept)
        return silver_behind(lake.settings).waiting, set(found)

    keep_only(monkeypatch, GOLD_ORDERS)
    kept = {GOLD_PRODUCT_SALES.name, SILVER_SESSIONS.name, GOLD_ORDERS.name}
    assert waiting() == (0, {0})
    lake.land(records([purchase(), event()]))
    assert waiting() == (2, {0})
    lake.refine()
    assert waiting() == (0, {2})
    lake.land(records([purchase(), event()], first_offset=2))  # copies: silver.events has no row more
    behind = silver_behind(lake.settings)
    landed_at = commits_of(BRONZE_EVENTS, lake.settings)[0].committed_at
    assert (behind.table, behind.since_s) == (SILVER_EVENTS.name, landed_at.timestamp())
    lake.refine()
    assert waiting() == (0, {2})
    lake.aggregate()
    lake.take_sessions()
    lake.keep()
    assert waiting() == (0, {0})


def test_a_cart_that_is_due_waits_until_a_round_has_it(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_only(monkeypatch)
    now = datetime.now(UTC)
    assert carts_behind(lake.settings, now).waiting == 0
    left = event(event_type="cart", event_time="2019-10-01 00:00:00 UTC")
    later = event(user_id=2, event_time="2019-10-01 02:00:00 UTC")
    lake.put([left, later], 0)
    lake.take_sessions()
    behind = carts_behind(lake.settings, datetime.now(UTC))
    assert (behind.table, behind.waiting) == (GOLD_ABANDONED_CARTS.name, 1)
    assert carts_behind(lake.settings, datetime.now(UTC), for_s=3600.0).waiting == 0
