"""An event that comes twice is once in silver.events, and each further copy once in silver.duplicates."""

from __future__ import annotations

from pathlib import Path

from lakehouse.tables import BRONZE_EVENTS, SILVER_DUPLICATES, SILVER_EVENTS
from tests.builders import TOPIC, event, record, records
from tests.flow.steps import Lake

COPY = event()
SPELLED_OTHERWISE = event(event_time="2019-10-01T00:00:00Z", product_id="5773203", price=2.62, category_code="")
MONTH_LATER = event(event_time="2019-11-01 00:00:00 UTC")


def events(lake: Lake) -> list[tuple]:
    return lake.rows(SILVER_EVENTS, "event_on", "event_id", "offset")


def copies(lake: Lake) -> list[int]:
    return [offset for (offset,) in lake.rows(SILVER_DUPLICATES, "offset")]


def test_a_copy_is_found_in_its_batch_in_the_next_one_and_after_memory_has_let_go(lake: Lake) -> None:
    lake.land(records([COPY, SPELLED_OTHERWISE]))
    refinement = lake.refine()
    assert (len(events(lake)), copies(lake)) == (1, [1])

    lake.land(records([COPY, MONTH_LATER], first_offset=2))
    lake.refine(refinement)
    assert (len(events(lake)), copies(lake)) == (2, [1, 2])

    # A new process remembers the last minute before the newest event: the copy is a month older.
    lake.land(records([SPELLED_OTHERWISE, MONTH_LATER, event(price="9.99")], first_offset=4))
    refinement = lake.refine()
    assert not refinement._judge._seen._recent.covers(0)
    assert (len(events(lake)), copies(lake)) == (3, [1, 2, 4, 5])

    first_id = next(id_ for _, id_, offset in events(lake) if offset == 0)
    assert [row for row in lake.rows(SILVER_DUPLICATES) if row[3] in (1, 2, 4)] == [
        (first_id, TOPIC, 0, offset) for offset in (1, 2, 4)
    ]
    lake.assert_conserved()


def test_a_copy_is_found_after_a_full_memory_has_let_go_of_its_event(lake: Lake) -> None:
    newer = [event(event_time=f"2019-10-02 {n // 60 % 24:02}:{n % 60:02}:00 UTC", user_id=n) for n in range(1100)]
    lake.land(records([COPY, *newer]))
    refinement = lake.refine()
    horizon_us = refinement._judge._seen._recent.horizon_us
    assert horizon_us is not None, "the memory is not full"

    lake.land(records([COPY, newer[0], newer[-1]], first_offset=2000))
    lake.refine(refinement)
    assert (len(events(lake)), copies(lake)) == (1101, [2000, 2001, 2002])
    lake.assert_conserved()


def test_places_in_other_partitions_and_topics_are_other_places(lake: Lake) -> None:
    lake.land([record(COPY, 0, partition=0), record(COPY, 0, partition=1), record(b"{", 0, partition=2)])
    lake.refine()
    (survivor,) = lake.rows(SILVER_EVENTS, "partition", "offset")
    assert [survivor, *lake.rows(SILVER_DUPLICATES, "partition", "offset")] in ([(0, 0), (1, 0)], [(1, 0), (0, 0)])
    lake.assert_conserved()


def test_a_rebuild_keeps_the_unknown_fields_that_the_live_run_kept(lake: Lake, tmp_path: Path) -> None:
    """Copies of one event may differ in fields we do not know; `extras` is not marked volatile."""
    rebuilt = lake.copy(tmp_path / "rebuilt")
    first, second = [event(coupon="A")], [event(coupon="B"), *(event(user_id=n, note="n" * 99) for n in range(50))]
    for each in (lake, rebuilt):
        each.land(records(first))
        if each is lake:
            each.refine()
        each.land(records(second, first_offset=1))
        each.refine()
    assert rebuilt.rows(BRONZE_EVENTS) == lake.rows(BRONZE_EVENTS)
    assert rebuilt.stable_rows(SILVER_EVENTS) == lake.stable_rows(SILVER_EVENTS)
