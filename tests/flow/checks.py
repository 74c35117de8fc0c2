"""Tables of a lake, held against a calculation apart."""

from __future__ import annotations

from gold.ledger import TABLES
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
from tests.sessions_by_hand import table_by_hand


def assert_gold_right(lake: Lake, *tables: Table) -> None:
    """Every table is what a calculation apart finds, and its topic's newest revisions are its rows."""
    events = lake.read(SILVER_EVENTS)
    for table in tables or (GOLD_PRODUCT_SALES, *TABLES):
        if table.name in SQL:
            found = lake.read(table, *columns_of(table.name))
            assert ordered(found) == by_hand(events, table.name), table.name
        lake.assert_published(table)


def assert_carts_right(lake: Lake) -> None:
    """Each table is what a calculation apart finds, at the clock that it has noted, and so is its topic."""
    events = lake.read(SILVER_EVENTS)
    clock = at_us(lake.note(GOLD_ABANDONED_CARTS)["clock_us"])
    for table in (SILVER_SESSIONS, GOLD_ABANDONED_CARTS, GOLD_FUNNEL):
        wanted = table_by_hand(table.name, events, clock)
        assert ordered(lake.read(table, *wanted.column_names)) == ordered(wanted), table.name
        lake.assert_published(table)
