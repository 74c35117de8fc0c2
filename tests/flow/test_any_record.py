"""Whatever bytes come, in whatever batches and however often: each record is in exactly one table of silver."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from lakehouse import commits
from lakehouse.settings import Settings
from lakehouse.tables import BRONZE_EVENTS, GOLD_PRODUCT_SALES, SILVER_DUPLICATES, SILVER_EVENTS, SILVER_QUARANTINE
from operate.audit import audit
from tests.any_bytes import VALID, VALUES, few
from tests.builders import Record, event, record
from tests.flow.steps import Lake

PLACE = ("topic", "partition", "offset")
# Silver forgets what is a minute older than the newest event: copies of the others are looked up in the table.
NEWEST = record(event(event_time="2025-12-31 00:00:00 UTC"), 10_000)


@st.composite
def landings(draw: st.DrawFn) -> list[list[Record]]:
    """Batches of records of any bytes, some of which are copies of earlier ones; a batch may be empty."""
    values = draw(st.lists(VALUES, min_size=120, max_size=150, unique=True))
    copied = draw(st.lists(st.integers(0, len(values) - 1), min_size=20, max_size=40))
    values = [VALID, *values, *(values[index] for index in copied), VALID]
    records = [record(value, offset, partition=offset % 3) for offset, value in enumerate(values)]
    ends = sorted(draw(st.lists(st.integers(0, len(records)), min_size=2, max_size=2)))
    return [records[first:end] for first, end in zip([0, *ends], [*ends, len(records)], strict=True)]


# Two examples of many records each: every batch is a commit in three Delta tables.
@few(2)
@given(batches=landings())
@pytest.mark.usefixtures("file_by_file")
def test_each_record_is_in_one_table_and_what_is_refused_keeps_its_bytes(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory, batches: list[list[Record]]
) -> None:
    home = tmp_path_factory.mktemp("any")
    lake = Lake(spark, Settings(home=home, recent_s=60, recent_rows=1000))
    for number, batch in enumerate(batches):
        lake.land([NEWEST, *batch] if number == 0 else batch)
        if number:
            # By a process that was just started.
            lake.refine_by_stream()

    lake.assert_conserved()
    landed = {(row.topic, row.partition, row.offset): row.value for batch in batches for row in batch}
    refused = {row[:3]: row[3] for row in lake.rows(SILVER_QUARANTINE, *PLACE, "value")}
    assert refused == {place: landed[place] for place in refused}
    assert len(lake.rows(BRONZE_EVENTS, "offset")) == len(landed) + 1
    _assert_copies_fare_alike(lake, landed, set(refused))

    # And once more by another engine, which hashes every event again.
    commits.create_tables(spark, (GOLD_PRODUCT_SALES,), lake.settings)
    found = {finding.promise: finding for finding in audit(lake.settings)}
    assert found["P2"].holds, found["P2"]
    assert found["P4"].holds, found["P4"]


def _assert_copies_fare_alike(lake: Lake, landed: dict[tuple, bytes | None], refused: set[tuple]) -> None:
    """All records of the same bytes are refused, or all tell of one event, which is there once."""
    events = {row[:3]: row[3] for row in lake.rows(SILVER_EVENTS, *PLACE, "event_id")}
    ids = events | {row[:3]: row[3] for row in lake.rows(SILVER_DUPLICATES, *PLACE, "event_id")}
    assert len(set(events.values())) == len(events)
    assert set(ids.values()) == set(events.values())
    alike = defaultdict(list)
    for place, value in landed.items():
        alike[value].append(place)
    assert any(len(places) > 1 and places[0] in ids for places in alike.values())
    for value, places in alike.items():
        assert len({place in refused for place in places}) == 1, value
        assert len({ids.get(place) for place in places}) == 1, value
