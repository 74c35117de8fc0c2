"""The numbers of several batches are those of one that has the records of all."""

from __future__ import annotations

from itertools import pairwise

import pyarrow as pa
import pytest

from silver.quality import count, counted_together

# (reasons, event_at_us, a bit for each column without a value) of six records; the last is a copy of the first.
RECORDS = [
    ([], 5, 1),
    (["bad_price"], None, 0),
    ([], 3, 3),
    (["bad_price", "not_json"], None, 0),
    ([], 9, 0),
    ([], 5, 1),
]
ACCEPTED = [0, 2, 4]
LATE_BEFORE_US = 4


def counts_of(begin: int, end: int) -> dict:
    schema = pa.schema([("reasons", pa.list_(pa.string())), ("event_at_us", pa.int64()), ("nulls", pa.int32())])
    rows = [dict(zip(schema.names, record, strict=True)) for record in RECORDS[begin:end]]
    accepted = [row - begin for row in ACCEPTED if begin <= row < end]
    return count(pa.Table.from_pylist(rows, schema), accepted, 0, LATE_BEFORE_US)


@pytest.mark.parametrize("cuts", [(0, 6), (0, 1, 6), (0, 2, 4, 6), (0, 1, 2, 3, 4, 5, 6)])
def test_counts_together_are_the_counts_of_all(cuts: tuple[int, ...]) -> None:
    assert counted_together([counts_of(begin, end) for begin, end in pairwise(cuts)]) == counts_of(0, 6)


def test_without_events_there_is_no_first_and_no_last() -> None:
    found = counted_together([counts_of(1, 2), counts_of(3, 4)])
    assert (found["first_event_at_us"], found["last_event_at_us"]) == (None, None)
    assert found["reasons"] == {"bad_price": 2, "not_json": 1}
