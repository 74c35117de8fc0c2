"""Somebody compacts and vacuums the tables while nothing runs, with no retention at all: the next start goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from deltalake import DeltaTable

from lakehouse.tables import (
    GOLD_CUSTOMER_VALUE,
    GOLD_FUNNEL,
    GOLD_ORDERS,
    GOLD_PRODUCT_SALES,
    SILVER_EVENTS,
    SILVER_SESSIONS,
)
from operate.audit import audit
from tests.builders import some_events
from tests.flow.checks import assert_carts_right, assert_gold_right
from tests.flow.steps import Lake


def maintain(lake: Lake) -> None:
    for table in (SILVER_EVENTS, SILVER_SESSIONS, GOLD_PRODUCT_SALES, GOLD_ORDERS):
        found = DeltaTable(table.path(lake.settings))
        found.optimize.compact()
        removed = found.vacuum(0, dry_run=False, enforce_retention_duration=False)
        assert removed or table != SILVER_EVENTS


def go_on(lake: Lake) -> None:
    """As processes that were just started."""
    lake.aggregate()
    lake.take_sessions()
    lake.keep()
    lake.leave()


@pytest.mark.long
@pytest.mark.parametrize("all_is_read", [True, False], ids=["all was read", "folds had not read all"])
def test_a_lake_without_its_old_files_goes_on(lake: Lake, only: Callable[..., None], all_is_read: bool) -> None:
    only(GOLD_ORDERS, GOLD_CUSTOMER_VALUE, GOLD_FUNNEL)
    values = some_events(7, 60)
    for first in (0, 20):
        lake.put(values[first : first + 20], first)
        lake.aggregate()
        lake.take_sessions()
        if all_is_read or not first:
            lake.keep()
            lake.leave()
    maintain(lake)
    if all_is_read:
        assert_proven(lake)
    go_on(lake)
    events = lake.rows(SILVER_EVENTS, "event_id")
    started = Lake(lake.spark, lake.settings, lake.topic)
    started.put(values[:20], 100)
    assert lake.rows(SILVER_EVENTS, "event_id") == events, "copies of events that were moved are still copies"
    started.put(values[40:], 40)
    go_on(lake)
    assert_gold_right(lake, GOLD_PRODUCT_SALES, GOLD_ORDERS, GOLD_CUSTOMER_VALUE)
    assert_carts_right(lake)
    assert_proven(lake)


def assert_proven(lake: Lake) -> None:
    """There is no bronze in these tests, and so no P1 and P2."""
    proven = {finding.promise: finding.counts for finding in audit(lake.settings) if finding.holds}
    assert {"P3", "P4"} <= proven.keys()
