"""A rebuild ends in the rows of the live run, under higher revisions, whatever kills it on its way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import functions as F

from lakehouse import commits, manifests
from lakehouse.errors import TableError
from lakehouse.manifests import refuse_unfinished
from lakehouse.tables import (
    GOLD_CUSTOMER_VALUE,
    GOLD_ORDERS,
    GOLD_PRODUCT_SALES,
    SILVER_DUPLICATES,
    SILVER_EVENTS,
    SILVER_QUARANTINE,
)
from operate.take_over import finish_begun
from tests.builders import event, purchase, records
from tests.crashing import Crash, Crashing
from tests.flow.checks import assert_gold_right
from tests.flow.repairs import LARGE, STRICT, rebuilt, replayed, with_rule
from tests.flow.steps import FakeTopic, Lake

ALL = (SILVER_EVENTS, SILVER_DUPLICATES, SILVER_QUARANTINE, GOLD_PRODUCT_SALES)
MORE = (GOLD_ORDERS, GOLD_CUSTOMER_VALUE)
# The manifest; three tables of silver and gold's, each noted in the manifest; the rows; the tombstones; the end.
BEGUN, COMMITTED, STEPS = 2, 10, 12


@pytest.fixture(autouse=True)
def sales_alone(request: pytest.FixtureRequest, only: Callable[..., None]) -> None:
    """Gold's other tables all go one way; two of them, one made of the other, are in one test."""
    is_for_all = request.node.name == "test_a_rebuild_equals_the_live_run_and_readers_of_the_highest_revision_survive"
    only(*(MORE if is_for_all else ()))


@pytest.fixture(scope="module")
def life(shared_lake: Lake) -> Lake:
    """Sales, copies, own ids in conflict, refused records, in three batches of one process."""
    refinement = aggregation = None
    late = purchase(event_time="2019-09-01 00:00:00 UTC", price="7.00")
    for first_offset, values in enumerate(
        [
            [purchase(price="1.00"), purchase(price="1.00"), event(event_id="a"), b"{"],
            [event(event_id="a", price="9.99"), purchase(user_id=2, price="-2.00"), event(coupon="B"), late],
            [event(coupon="A"), LARGE, event(event_time="2019-12-01 00:00:00 UTC"), late],
        ]
    ):
        shared_lake.land_later(records(values, first_offset=10 * first_offset))
        refinement = shared_lake.refine(refinement)
        aggregation = shared_lake.aggregate(aggregation)
    return shared_lake


@pytest.fixture
def lived(life: Lake, tmp_path: Path) -> Lake:
    return life.copy(tmp_path / "home")


def test_a_rebuild_equals_the_live_run_and_readers_of_the_highest_revision_survive(lived: Lake) -> None:
    lived.keep()
    before = {table: (lived.version(table), lived.stable_rows(table)) for table in (*ALL, *MORE)}
    revisions = {key: row["revision"] for key, row in lived.sales().items()}
    outcome = rebuilt(lived)
    assert [(table.table, table.is_same) for table in outcome.tables] == [(table.name, True) for table in before]
    for table, (version, rows) in before.items():
        assert lived.stable_rows(table) == rows
        assert lived.version(table) == version + 1, "one overwrite; the history stays"
    assert {key: row["revision"] > revisions[key] for key, row in lived.sales().items()} == dict.fromkeys(
        revisions, True
    )
    for table in MORE:
        lived.assert_published(table)
    lived.assert_published()
    lived.assert_conserved()
    assert not (Path(lived.settings.lake_url) / "_rebuild").exists()

    # Both layers go on behind it.
    lived.land(
        records(
            [
                purchase(price="1.00"),
                purchase(user_id=8, price="3.00"),
                event(event_id="a"),
                event(event_id="a", price="7.00"),
            ],
            first_offset=90,
        )
    )
    lived.refine()
    lived.aggregate()
    lived.keep()
    assert_gold_right(lived, GOLD_PRODUCT_SALES, *MORE)
    assert [offset for (offset,) in lived.rows(SILVER_DUPLICATES, "offset") if offset >= 90] == [90, 92]
    assert [offset for (offset,) in lived.rows(SILVER_QUARANTINE, "offset") if offset >= 90] == [93]
    lived.assert_conserved()


def test_a_key_without_a_sale_left_gets_a_tombstone_and_may_come_back(lake: Lake) -> None:
    lake.land(records([purchase(price="1.00"), LARGE | {"product_id": 77}]))
    lake.refine()
    lake.aggregate()
    strict = with_rule(lake, STRICT)
    assert [table.is_same for table in rebuilt(strict).tables] == [False, True, False, False]
    assert ("too_large",) in [reasons for (reasons,) in strict.rows(SILVER_QUARANTINE, "reasons")]
    (key,) = strict.topic.withdrawn
    assert key[1] == 77 and key not in strict.topic.newest()
    strict.assert_published()
    mended = with_rule(lake, 1_000_000)
    replayed(mended)
    mended.aggregate()
    assert key in mended.topic.newest()
    mended.assert_published()


def test_a_rebuild_keeps_when_a_record_was_first_refused_and_what_was_replayed(lake: Lake) -> None:
    strict = with_rule(lake, STRICT)
    strict.land(records([LARGE, b"{"]))
    strict.refine()
    mended = with_rule(lake, 1_000_000)
    replayed(mended)
    before = mended.rows(SILVER_QUARANTINE)
    rebuilt(mended)
    assert mended.rows(SILVER_QUARANTINE) == before
    mended.assert_conserved()


def test_gold_alone(lived: Lake) -> None:
    silver = lived.version(SILVER_EVENTS)
    rows = lived.stable_rows(GOLD_PRODUCT_SALES)
    # Somebody spoilt a row: the comparison says so, and the rebuild mends it.
    frame = commits.read_table(lived.spark, GOLD_PRODUCT_SALES, lived.settings).withColumn("units", F.col("units") + 1)
    commits.overwrite(frame, GOLD_PRODUCT_SALES, lived.settings, lived.note(GOLD_PRODUCT_SALES))
    assert [table.is_same for table in rebuilt(lived, "gold", dry_run=True).tables] == [False]
    assert lived.stable_rows(GOLD_PRODUCT_SALES) != rows
    rebuilt(lived, "gold")
    assert lived.stable_rows(GOLD_PRODUCT_SALES) == rows
    assert lived.version(SILVER_EVENTS) == silver
    lived.assert_published()


def test_a_dry_run_commits_nothing(lived: Lake) -> None:
    versions, published = [lived.version(table) for table in ALL], len(lived.topic.rows)
    outcome = rebuilt(lived, dry_run=True)
    assert [table.is_same for table in outcome.tables] == [True] * 4 and outcome.manifest is None
    assert [lived.version(table) for table in ALL] == versions
    assert len(lived.topic.rows) == published
    assert manifests.newest(lived.spark, lived.settings) is None


# Over 30 s: six rebuilds. The steps left out differ from one of these only in the table that is committed; the long
# chaos run kills a rebuild anywhere.
def test_killed_before_any_step_it_leaves_the_old_tables_or_is_finished(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.land(records([purchase(price="1.00"), LARGE | {"product_id": 77}, LARGE | {"product_id": 77}, b"{"]))
    lake.refine()
    lake.aggregate()
    strict = with_rule(lake, STRICT)
    whole, counting = strict.copy(tmp_path / "whole"), Crashing(STEPS + 1, "before")
    with monkeypatch.context() as patch:
        hurt(patch, counting)
        rebuilt(whole)
    assert counting._left == 1, "there is no step beyond these"
    for number in (BEGUN - 1, BEGUN + 2, COMMITTED):
        each = strict.copy(tmp_path / str(number))
        crash = Crashing(number, "before")
        with monkeypatch.context() as patch, pytest.raises(Crash):
            hurt(patch, crash)
            rebuilt(each)
        begun = manifests.newest(each.spark, each.settings)
        assert (begun is None) == (number < BEGUN)
        if begun is None:
            for table in ALL:
                assert each.stable_rows(table) == strict.stable_rows(table), number
            rebuilt(each)
        else:
            assert begun.done_at is None
            with pytest.raises(TableError, match="rebuild silver"):
                refuse_unfinished(each.spark, each.settings)
            finish_begun(each.spark, each.settings, each.topic, lambda _line: None)
        for table in ALL:
            assert each.stable_rows(table) == whole.stable_rows(table), number
        refuse_unfinished(each.spark, each.settings)
        each.assert_published()
        each.assert_conserved()


def hurt(patch: pytest.MonkeyPatch, crash: Crashing) -> None:
    """Every step from the first that is not at the side."""
    overwrite = commits.overwrite
    in_place = crash.around(overwrite)

    def overwrite_in_place(rows, table, settings, note):  # type: ignore[no-untyped-def]
        return (overwrite if "_rebuild" in settings.lake_url else in_place)(rows, table, settings, note)

    patch.setattr(commits, "overwrite", overwrite_in_place)
    patch.setattr(manifests, "save", crash.around(manifests.save))
    patch.setattr(FakeTopic, "publish", crash.around(FakeTopic.publish))
    patch.setattr(FakeTopic, "withdraw", crash.around(FakeTopic.withdraw))
