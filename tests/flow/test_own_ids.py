"""A producer's own id is the event's id; the same id with other content is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakehouse.tables import SILVER_DUPLICATES, SILVER_EVENTS, SILVER_QUARANTINE
from tests.builders import TOPIC, event, purchase, record, records
from tests.flow.steps import Lake

MINE = event(event_id="order-7")
OTHER_PRICE = event(event_id="order-7", price="3.00")
NEXT_DAY = event(event_id="order-7", event_time="2019-10-02 00:00:00 UTC")
MONTH_LATER = event(event_time="2019-11-01 00:00:00 UTC", user_id=2)


def where(lake: Lake) -> tuple[list[int], list[int], list[int]]:
    """The offsets in events, duplicates and quarantine."""
    tables = (SILVER_EVENTS, SILVER_DUPLICATES, SILVER_QUARANTINE)
    events, copies, refused = (sorted(offset for (offset,) in lake.rows(table, "offset")) for table in tables)
    return events, copies, refused


def test_the_id_is_the_producers_and_the_hash_stands_beside_it(lake: Lake) -> None:
    lake.land(records([MINE, event(event_id="  "), event(event_id=7, user_id=1)]))
    lake.refine()
    hashed = next(row for row in lake.rows(SILVER_EVENTS, "offset", "event_id", "content_id") if row[0] == 1)
    own = lake.rows(SILVER_EVENTS, "offset", "event_id", "content_id", "extras")
    assert [row[1] for row in own] == ["order-7", hashed[1], "7"]
    assert own[0][2] == hashed[1] and own[1][2] is None, "what it says is the same, whoever gave the id"
    assert {row[3] for row in own} == {None}, "it is no unknown field"


@pytest.mark.parametrize("batches", ["one", "two of one process", "two processes", "after memory has let go"])
def test_a_copy_is_a_copy_and_other_content_is_refused(lake: Lake, batches: str) -> None:
    later = [MINE, OTHER_PRICE, NEXT_DAY, event(event_id="order-8", price="3.00")]
    if batches == "one":
        lake.land(records([MINE, *later]))
        lake.refine()
    else:
        lake.land(records([MINE]))
        refinement = lake.refine()
        if batches == "after memory has let go":
            lake.land(records([MONTH_LATER], first_offset=100))
            lake.refine(refinement)
        lake.land(records(later, first_offset=1))
        lake.refine(refinement if batches == "two of one process" else None)
    events, copies, refused = where(lake)
    assert (sorted({*events} - {100}), copies, refused) == ([0, 4], [1], [2, 3])
    assert {reasons for (reasons,) in lake.rows(SILVER_QUARANTINE, "reasons")} == {("conflicting_id",)}
    lake.assert_conserved()


def test_a_purchase_under_the_id_of_a_view_is_not_a_sale(lake: Lake) -> None:
    lake.land(records([event(event_id="a"), purchase(event_id="a"), purchase(event_id="b"), event(event_id="b")]))
    lake.refine()
    lake.aggregate()
    assert where(lake) == ([0, 2], [], [1, 3])
    assert [row["units"] for row in lake.sales().values()] == [1]


def test_the_first_in_the_order_of_bronzes_commits_is_the_event(lake: Lake, tmp_path: Path) -> None:
    """Batch by batch, and in one batch of both commits, as a rebuild may have it: the higher place came first."""
    at_once = lake.copy(tmp_path / "at once")
    for each in (lake, at_once):
        each.land([record(MINE, 5, partition=1)])
        if each is lake:
            each.refine()
        each.land_later([record(OTHER_PRICE, 0, partition=0)])
        each.refine()
        assert each.rows(SILVER_EVENTS, "topic", "partition", "offset") == [(TOPIC, 1, 5)]
    assert at_once.stable_rows(SILVER_QUARANTINE) == lake.stable_rows(SILVER_QUARANTINE)
