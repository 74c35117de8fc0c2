"""Where a batch of a stream from a table ends: what silver's and gold's notes rely on."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from pyspark.sql import DataFrame

from lakehouse import commits
from lakehouse.streams import Position, Stop, follow_table, is_whole, last_whole_version, run, table_stream
from lakehouse.tables import BRONZE_EVENTS, SILVER_EVENTS, Table
from tests.builders import event, records
from tests.flow.steps import Lake


class Batches:
    """A step that only takes down what it got."""

    def __init__(self) -> None:
        self.ends: list[Position] = []
        self.offsets: list[list[int]] = []

    def __call__(self, batch: DataFrame, end: Position) -> None:
        self.ends.append(end)
        self.offsets.append(sorted(row.offset for row in batch.select("offset").collect()))

    @property
    def versions(self) -> list[int]:
        return [last_whole_version(end) for end in self.ends]

    @property
    def whole(self) -> list[bool]:
        return [is_whole(end) for end in self.ends]


@pytest.fixture
def three_commits(lake: Lake) -> Lake:
    """bronze.events at version 3: commits of two records each, in one file each."""
    for first in (0, 2, 4):
        lake.land(records([event(), event()], first_offset=first))
    return lake


def read(lake: Lake, after_version: int, table: Table = BRONZE_EVENTS) -> Batches:
    batches = Batches()
    follow_table("positions", table, after_version, batches, lake.spark, lake.settings, Stop(), once=True)
    return batches


def test_a_batch_of_several_commits_of_one_file_ends_with_the_last_of_them(three_commits: Lake) -> None:
    batches = read(three_commits, after_version=0)
    assert (batches.offsets, batches.versions, batches.whole) == ([[0, 1, 2, 3, 4, 5]], [3], [True])


@pytest.mark.usefixtures("file_by_file")
def test_a_batch_of_one_file_ends_with_its_commit_when_that_has_one_file(three_commits: Lake) -> None:
    batches = read(three_commits, after_version=0)
    assert (batches.offsets, batches.versions, batches.whole) == ([[0, 1], [2, 3], [4, 5]], [1, 2, 3], [True] * 3)


def test_a_stream_goes_on_after_the_version_it_is_given(three_commits: Lake) -> None:
    assert read(three_commits, after_version=1).offsets == [[2, 3, 4, 5]]


def test_a_stream_that_has_read_everything_ends_without_a_batch(three_commits: Lake) -> None:
    assert read(three_commits, after_version=3).ends == []


def test_a_commit_without_rows_is_passed_over(three_commits: Lake) -> None:
    commits.append_nothing(three_commits.spark, BRONZE_EVENTS, three_commits.settings, {"position": {}})
    three_commits.land(records([event()], first_offset=6))
    batches = read(three_commits, after_version=3)
    assert (batches.offsets, batches.versions, batches.whole) == ([[6]], [5], [True])


def test_a_running_stream_tells_the_same_and_ends_when_told(three_commits: Lake) -> None:
    stop, batches = Stop(), Batches()

    def step(batch: DataFrame, end: Position) -> None:
        batches(batch, end)
        if len(batches.ends) == 1:
            three_commits.land(records([event()], first_offset=6))
        else:
            stop.set()

    source = table_stream(three_commits.spark, BRONZE_EVENTS, three_commits.settings, 0)
    run("positions", source, step, three_commits.settings, stop, once=False)
    assert (batches.offsets, batches.versions, batches.whole) == ([[0, 1, 2, 3, 4, 5], [6]], [3, 4], [True] * 2)


@pytest.mark.usefixtures("file_by_file")
def test_told_to_stop_it_ends_after_the_batch_in_work_though_more_is_there(three_commits: Lake) -> None:
    stop, batches = Stop(), Batches()

    def step(batch: DataFrame, end: Position) -> None:
        batches(batch, end)
        stop.set()

    source = table_stream(three_commits.spark, BRONZE_EVENTS, three_commits.settings, 0)
    run("positions", source, step, three_commits.settings, stop, once=False)
    assert batches.versions == [1]


@pytest.mark.usefixtures("file_by_file")
def test_it_ends_between_two_batches_when_it_is_enough(three_commits: Lake) -> None:
    batches = Batches()
    source = table_stream(three_commits.spark, BRONZE_EVENTS, three_commits.settings, 0)
    run(
        "positions",
        source,
        batches,
        three_commits.settings,
        Stop(),
        once=False,
        is_enough=lambda: len(batches.ends) == 2,
    )
    assert batches.versions == [1, 2]


def test_an_error_of_a_step_comes_out_as_it_was(three_commits: Lake) -> None:
    error = ValueError("on purpose")

    def step(batch: DataFrame, end: Position) -> None:
        raise error

    source = table_stream(three_commits.spark, BRONZE_EVENTS, three_commits.settings, 0)
    with pytest.raises(ValueError, match="on purpose") as caught:
        run("positions", source, step, three_commits.settings, Stop(), once=True)
    assert caught.value is error


@pytest.mark.usefixtures("file_by_file")
def test_a_commit_of_several_files_is_whole_with_its_last_file_only(lake: Lake) -> None:
    """Silver's commits have a file for each day. The column the table is divided by makes them here."""
    commits.create_tables(lake.spark, (SILVER_EVENTS,), lake.settings)
    first_day = datetime(2019, 10, 1)  # noqa: DTZ001 (a day, not a time)
    days = [(number, (first_day + timedelta(days=number)).date()) for number in range(3)]
    empty = lake.spark.createDataFrame([], SILVER_EVENTS.schema)
    frame = lake.spark.createDataFrame(days, "offset bigint, event_on date")
    rows = frame.unionByName(empty, allowMissingColumns=True).select(*empty.columns).coalesce(1)
    commits.append(rows, SILVER_EVENTS, lake.settings, {})
    batches = read(lake, after_version=0, table=SILVER_EVENTS)
    assert (batches.versions, batches.whole) == ([0, 0, 1], [False, False, True])
    assert sorted(batches.offsets) == [[0], [1], [2]]
