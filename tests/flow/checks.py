"""Tables of a lake, held against a calculation apart."""

from __future__ import annotations

import pyarrow as pa

from gold.ledger import TABLES
from lakehouse import commits
from lakehouse.clock import at_us
from lakehouse.tables import (
    GOLD_ABANDONED_CARTS,
    GOLD_FUNNEL,
    GOLD_PRODUCT_SALES,
    SILVER_EVENTS,
    SILVER_SESSIONS,
    Table,
)
from tests.flow.steps import Lake
from tests.gold_by_hand import SQL, by_hand, columns_of, ordered
from tests.visits_by_hand import visits_by_hand


def assert_gold_right(lake: Lake, *tables: Table) -> None:
    """Every table is what a calculation apart finds, and its topic's newest revisions are its rows."""
    events = commits.read_table(lake.spark, SILVER_EVENTS, lake.settings).toArrow()
    for table in tables or (GOLD_PRODUCT_SALES, *TABLES):
        if table.name in SQL:
            found = commits.read_table(lake.spark, table, lake.settings).select(*columns_of(table.name)).toArrow()
            assert ordered(found) == by_hand(events, table.name), table.name
        lake.assert_published(table)


def assert_carts_right(lake: Lake) -> None:
    """Each table is what a calculation apart finds, at the clock that it has noted, and so is its topic."""
    events = commits.read_table(lake.spark, SILVER_EVENTS, lake.settings).toArrow()
    clock = at_us(lake.note(GOLD_ABANDONED_CARTS)["clock_us"])
    for table in (SILVER_SESSIONS, GOLD_ABANDONED_CARTS, GOLD_FUNNEL):
        wanted = visits_by_hand(table.name, events, clock)
        assert ordered(found_in(lake, table, wanted.column_names)) == ordered(wanted), table.name
        lake.assert_published(table)


def found_in(lake: Lake, table: Table, columns: list[str]) -> pa.Table:
    return commits.read_table(lake.spark, table, lake.settings).select(*columns).toArrow()
