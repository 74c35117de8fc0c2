"""A process may die between any two steps: the next one goes on, and the rows are those of a life without a crash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lakehouse import commits, streams
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_PRODUCT_SALES, SILVER_EVENTS
from tests.builders import event, purchase, records
from tests.crashing import Crash, Crashing
from tests.flow.steps import SILVER, FakeTopic, Lake

# To die after a step leaves the same as to die before the next one: `after` is tried for the last one only.
DEATHS = [*((number, "before") for number in range(1, 7)), (6, "after")]


@pytest.fixture(scope="module")
def one_file_a_batch() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(streams, "_BATCH_BYTES", "1")
        yield


@pytest.fixture(scope="module")
def landed(spark: SparkSession, one_file_a_batch: None, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Silver has read the first commit of bronze and gold has read it there. Two more commits wait, each with new
    events, a copy, and a refused record; the second has a purchase for a window of the first."""
    home = tmp_path_factory.mktemp("landed")
    lake = Lake(spark, Settings(home=home, recent_s=60, recent_rows=1000, round_s=3600))
    first = [sold(1, 1, "5.00"), sold(1, 2, "6.00"), event(), event()]
    lake.land(records(first))
    lake.refine()
    lake.aggregate()
    lake.land(records([sold(1, 3, "1.10"), sold(2, 4, "2.20"), first[0], b"{"], first_offset=10))
    lake.land(records([sold(2, 5, "-0.20"), sold(1, 6, "1.10"), first[1], None], first_offset=20))
    return lake


@pytest.fixture(scope="module")
def refined(landed: Lake, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The same after silver has read all without a crash; gold still has to."""
    lake = landed.copy(tmp_path_factory.mktemp("refined") / "home")
    lake.refine_by_stream()
    return lake


@pytest.fixture(scope="module")
def sales_without_a_crash(refined: Lake, tmp_path_factory: pytest.TempPathFactory) -> list[tuple]:
    lake = refined.copy(tmp_path_factory.mktemp("aggregated") / "home")
    lake.aggregate()
    return lake.stable_rows(GOLD_PRODUCT_SALES)


def sold(day: int, user: int, price: str) -> dict:
    return purchase(event_time=f"2019-10-0{day} 12:00:00 UTC", user_id=user, price=price, product_id=1)


# Two batches, each with a commit to duplicates, to quarantine and to events.
@pytest.mark.parametrize(("number", "when"), DEATHS)
def test_silver_that_dies_at_any_commit_has_the_rows_of_one_that_lived(
    landed: Lake, refined: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, when: str
) -> None:
    lake, crash = landed.copy(tmp_path / "home"), Crashing(number, when)
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(commits, "append", crash.around(commits.append))
        lake.refine_by_stream()
    lake.refine()
    lake.assert_conserved()
    for table in SILVER:
        assert lake.stable_rows(table) == refined.stable_rows(table)


# The start of a generation, four publications (two commits of two days), and the upsert.
@pytest.mark.parametrize(("number", "when"), DEATHS)
def test_gold_that_dies_at_any_step_has_the_rows_of_one_that_lived(
    refined: Lake,
    sales_without_a_crash: list[tuple],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    when: str,
) -> None:
    lake, crash = refined.copy(tmp_path / "home"), Crashing(number, when)
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(commits, "append", crash.around(commits.append))
        patch.setattr(commits, "merge", crash.around(commits.merge))
        patch.setattr(FakeTopic, "publish", crash.around(FakeTopic.publish))
        lake.aggregate_by_stream()
    lake.aggregate()
    assert lake.stable_rows(GOLD_PRODUCT_SALES) == sales_without_a_crash
    lake.assert_published()
    assert lake.note(GOLD_PRODUCT_SALES)["silver_version"] == lake.version(SILVER_EVENTS)


def test_there_is_no_step_beyond_those_that_were_tried(
    landed: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, silver, gold = landed.copy(tmp_path / "home"), Crashing(7, "before"), Crashing(7, "before")
    with monkeypatch.context() as patch:
        patch.setattr(commits, "append", silver.around(commits.append))
        lake.refine_by_stream()
    with monkeypatch.context() as patch:
        patch.setattr(commits, "append", gold.around(commits.append))
        patch.setattr(commits, "merge", gold.around(commits.merge))
        patch.setattr(FakeTopic, "publish", gold.around(FakeTopic.publish))
        lake.aggregate_by_stream()
    assert (silver._left, gold._left) == (1, 1)


def test_revisions_rise_over_processes_that_died_after_they_had_published(lake: Lake) -> None:
    """Each dies before its upsert; between them silver gets more, so that one revision would have two contents."""
    for user in range(3):
        lake.land(records([sold(1, user, "1.00")], first_offset=user))
        lake.refine()
        crash = Crashing(1, "before")
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Crash):
            patch.setattr(commits, "merge", crash.around(commits.merge))
            lake.aggregate()
    lake.aggregate()
    assert [row["units"] for row in lake.topic.newest().values()] == [3]
    lake.assert_published()


def test_a_table_whose_making_died_of_a_full_disk_is_made(spark: SparkSession, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    log = Path(GOLD_PRODUCT_SALES.path(settings)) / "_delta_log"
    (log / "_staged_commits").mkdir(parents=True)
    (log / f".{0:020d}.json.3066f160.tmp").touch()
    commits.create_tables(spark, (GOLD_PRODUCT_SALES,), settings)
    assert commits.read_table(spark, GOLD_PRODUCT_SALES, settings).count() == 0
