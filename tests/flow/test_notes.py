"""Each layer's last commit says how far it has read, and the history of a table what was done to it."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
from delta.tables import DeltaTable

from lakehouse import commits
from lakehouse.errors import SettingError
from lakehouse.jobs import in_session
from lakehouse.settings import Settings
from lakehouse.tables import (
    BRONZE_EVENTS,
    GOLD_PRODUCT_SALES,
    SILVER_DUPLICATES,
    SILVER_EVENTS,
    SILVER_QUARANTINE,
    Table,
)
from silver.refine import Refinement
from tests.builders import event, purchase, records
from tests.flow.steps import Lake
from tests.programs import another_process_holding


def operations(lake: Lake, table: Table) -> list[str]:
    history = DeltaTable.forPath(lake.spark, table.path(lake.settings)).history()
    return [row.operation for row in history.orderBy("version").select("operation").collect()]


def assert_notes_are_up_to_date(lake: Lake) -> None:
    beside = {table.name: lake.version(table) for table in (SILVER_DUPLICATES, SILVER_QUARANTINE)}
    assert lake.note(SILVER_EVENTS)["bronze_version"] == lake.version(BRONZE_EVENTS)
    assert lake.note(SILVER_EVENTS)["beside"] == beside
    assert lake.note(GOLD_PRODUCT_SALES)["silver_version"] == lake.version(SILVER_EVENTS)


def test_the_last_commits_say_how_far_each_layer_has_read(lake: Lake) -> None:
    for first_offset in (0, 10):
        lake.land(records([purchase(user_id=first_offset), event(), b"{"], first_offset=first_offset))
        lake.refine_by_stream()
        lake.aggregate_by_stream()
        assert_notes_are_up_to_date(lake)
    assert operations(lake, SILVER_EVENTS) == ["CREATE TABLE", "WRITE", "WRITE"]
    assert operations(lake, SILVER_DUPLICATES) == ["CREATE TABLE", "WRITE"]
    assert operations(lake, GOLD_PRODUCT_SALES) == ["CREATE TABLE", "WRITE", "MERGE", "WRITE", "MERGE"]


def test_a_batch_without_a_new_event_counts_as_read(lake: Lake) -> None:
    """Only copies and refused records: silver.events gets no row, but its note must not stay behind."""
    lake.land(records([purchase()]))
    lake.refine()
    lake.aggregate()
    lake.land(records([purchase(), b"{"], first_offset=1))
    refinement = lake.refine()
    assert refinement.version == lake.version(SILVER_EVENTS)
    lake.aggregate()
    assert_notes_are_up_to_date(lake)
    lake.assert_conserved()


def test_a_batch_without_a_purchase_counts_as_read_by_gold(lake: Lake) -> None:
    lake.land(records([event()]))
    lake.refine()
    lake.aggregate()
    assert_notes_are_up_to_date(lake)
    assert lake.sales() == {} and lake.topic.rows == []


def test_a_commit_for_the_sake_of_its_note_is_made(lake: Lake) -> None:
    commits.append_nothing(lake.spark, BRONZE_EVENTS, lake.settings, {"position": {"a": 1}})
    version = commits.append_nothing(lake.spark, BRONZE_EVENTS, lake.settings, {"position": {"a": 2}})
    assert (version, lake.version(BRONZE_EVENTS)) == (2, 2)
    assert lake.note(BRONZE_EVENTS) == {"position": {"a": 2}}
    assert lake.rows(BRONZE_EVENTS) == []


def test_the_generation_rises_at_each_start_also_of_one_that_had_nothing_to_do(lake: Lake) -> None:
    lake.land(records([purchase()]))
    lake.refine()
    generations = []
    for _ in range(3):
        lake.aggregate()
        generations.append(lake.note(GOLD_PRODUCT_SALES)["generation"])
    assert generations == [1, 2, 3]


def test_silver_with_nothing_new_to_read_writes_nothing(lake: Lake) -> None:
    lake.land(records([event(), event(), b"{"]))
    lake.refine()
    versions = [lake.version(table) for table in (SILVER_EVENTS, SILVER_DUPLICATES, SILVER_QUARANTINE)]
    lake.refine_by_stream()
    assert [lake.version(table) for table in (SILVER_EVENTS, SILVER_DUPLICATES, SILVER_QUARANTINE)] == versions


def test_a_new_lake_has_empty_tables_and_no_notes(lake: Lake) -> None:
    assert Refinement(lake.spark, lake.settings).read_version == 0
    assert lake.note(SILVER_EVENTS) == {} and lake.rows(SILVER_EVENTS) == []


@pytest.fixture
def _signals_as_they_were() -> Iterator[None]:
    """A job takes SIGINT and SIGTERM over."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_signals_as_they_were")
def test_a_job_whose_layer_another_process_writes_ends_with_1_and_does_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", str(settings.home))
    lock = settings.home / "lake" / "_locks" / "silver.lock"
    with another_process_holding(lock) as first:
        assert in_session("silver", ("silver",), lambda *_: pytest.fail("two writers")) == 1
    assert f"Process {first.pid} is the writer of silver" in caplog.text


def test_windows_of_another_length_are_refused(lake: Lake) -> None:
    lake.land(records([purchase()]))
    lake.refine()
    lake.aggregate()
    hourly = Lake(lake.spark, lake.settings.model_copy(update={"sales_window_s": 3600}), lake.topic)
    with pytest.raises(SettingError, match="windows of 60 s"):
        hourly.aggregate()
