"""The index tells the day of each id, and of a new one that it is on none."""

from __future__ import annotations

import pytest

from silver import days_of_ids
from silver.days_of_ids import DaysOfIds


@pytest.mark.parametrize("merge_at", [1, 3, 100_000])
def test_every_id_is_found_on_its_day_and_no_other_is(merge_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(days_of_ids, "_MERGE_AT", merge_at)
    index = DaysOfIds()
    for lot in range(4):
        index.add((f"id-{number}", number % 400) for number in range(lot * 10, lot * 10 + 10))
    assert len(index) == 40
    wanted = [f"id-{number}" for number in range(50)]
    assert index.days_of(wanted) == {f"id-{number}": {number % 400} for number in range(40)}


def test_an_empty_index_knows_nothing() -> None:
    assert DaysOfIds().days_of(["a", ""]) == {}
    assert DaysOfIds().days_of([]) == {}
