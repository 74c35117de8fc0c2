"""Gold's slower tables: in rounds, whatever the batches, the order and the kills, they are what a calculation apart
finds; what changed is published, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from delta.tables import DeltaTable
from pyspark.sql import functions as F

from gold.folds import FOLDS
from gold.ledger import Ledger
from lakehouse import commits
from lakehouse.streams import Stop
from lakehouse.tables import (
    GOLD_CUSTOMER_VALUE,
    GOLD_ORDERS,
    GOLD_PRODUCT_SALES,
    GOLD_PRODUCTS,
    GOLD_SALES_CORRECTIONS,
    SILVER_EVENTS,
)
from operate.rebuild import rebuild
from tests.builders import event, purchase, some_events
from tests.crashing import Crash, Crashing
from tests.flow.checks import assert_gold_right
from tests.flow.steps import FakeTopic, Lake


# Over 30 s: each round commits and reads back nine tables.
def test_rounds_make_what_a_calculation_apart_finds_whatever_the_batches(lake: Lake) -> None:
    values = some_events(1, 90)
    ledger, aggregation = Ledger(lake.spark, lake.settings, lake.topic), None
    for start, end in ((0, 60), (30, 90)):  # 30 come twice
        lake.put(values[start:end], 100 * start)
        aggregation = lake.aggregate(aggregation)
        lake.keep(ledger)
    assert_gold_right(lake)
    versions, published = versions_of(lake), len(lake.topic.by_table[GOLD_ORDERS])
    lake.put(values[:10], 90_000)
    lake.keep(ledger)
    assert (versions_of(lake), len(lake.topic.by_table[GOLD_ORDERS])) == (versions, published), "copies change nothing"


def test_only_what_changes_gets_a_revision(lake: Lake, only: Callable[..., None]) -> None:
    only(GOLD_ORDERS, GOLD_CUSTOMER_VALUE)
    lake.put([purchase(user_id=1, price="1.00"), purchase(user_id=2, price="2.00", product_id=7)], 0)
    ledger = lake.keep()
    lake.put([purchase(user_id=2, price="3.00", product_id=7, event_time="2019-10-01 09:00:00 UTC")], 10)
    lake.keep(ledger)
    revisions = dict(lake.rows(GOLD_CUSTOMER_VALUE, "user_id", "revision"))
    assert revisions == {1: 1, 2: 2}
    assert [row["user_id"] for row in lake.topic.by_table[GOLD_CUSTOMER_VALUE]] in ([1, 2, 2], [2, 1, 2])
    assert len(lake.rows(GOLD_ORDERS)) == 3
    assert len(lake.topic.by_table[GOLD_ORDERS]) == 3, "each order once"


def test_a_window_that_changes_after_it_was_complete_is_logged(lake: Lake, only: Callable[..., None]) -> None:
    only()
    aggregation = None
    ledger = Ledger(lake.spark, lake.settings, lake.topic)
    for number, value in enumerate(
        [
            purchase(price="1.00", user_id=1, event_time="2019-10-01 10:00:00 UTC"),
            purchase(price="2.00", user_id=2, event_time="2019-10-01 10:11:00 UTC"),
            purchase(price="4.00", user_id=3, event_time="2019-10-01 10:00:01 UTC"),  # late: 11 minutes
            purchase(price="8.00", user_id=4, event_time="2019-10-01 10:05:00 UTC"),  # its window is not old enough
            purchase(price="-1.00", user_id=1, product_id=9, event_time="2019-10-01 09:00:00 UTC"),
        ]
    ):
        lake.put([value], number)
        aggregation = lake.aggregate(aggregation)
        lake.keep(ledger)
    columns = ("product_id", "old_units", "new_units", "old_revenue", "new_revenue", "new_refund_amount", "reason")
    logged = [tuple(map(str, row)) for row in lake.rows(GOLD_SALES_CORRECTIONS, *columns)]
    assert logged == [
        ("5773203", "1", "2", "1.00", "5.00", "0.00", "late"),
        ("9", "0", "0", "0.00", "0.00", "1.00", "late"),
    ]
    lake.assert_published(GOLD_SALES_CORRECTIONS)
    lake.keep()
    assert len(lake.rows(GOLD_SALES_CORRECTIONS)) == 2, "and once"


# Over 30 s: a round is killed at several of its steps, and each time the next process goes on.
def test_a_round_killed_between_any_two_steps_is_gone_on_with(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, only: Callable[..., None]
) -> None:
    only(GOLD_ORDERS, GOLD_CUSTOMER_VALUE, GOLD_PRODUCTS)
    lake.put(some_events(2, 30), 0)
    lake.aggregate()
    lake.keep()
    lake.put(some_events(3, 30), 100)
    lake.aggregate()
    for moment, step in (("after", 1), ("before", 2), ("after", 3), ("before", 4)):
        with monkeypatch.context() as patch, pytest.raises(Crash):
            crash = Crashing(step, moment)
            patch.setattr(commits, "replace", crash.around(commits.replace))
            patch.setattr(FakeTopic, "publish", crash.around(FakeTopic.publish))
            lake.keep()
    lake.keep()
    assert_gold_right(lake, GOLD_PRODUCT_SALES, GOLD_ORDERS, GOLD_CUSTOMER_VALUE, GOLD_PRODUCTS)


def test_a_round_reads_the_new_files_alone(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, only: Callable[..., None]
) -> None:
    only(GOLD_PRODUCTS)
    lake.put([event(product_id=1)], 0)
    ledger = lake.keep()
    lake.put([event(product_id=2)], 10)
    read: list[int] = []
    added_rows = commits.added_rows

    def counted(*arguments: Any) -> Any:
        rows, days = added_rows(*arguments)
        read.append(rows.count())
        return rows, days

    monkeypatch.setattr(commits, "added_rows", counted)
    lake.keep(ledger)
    assert set(read) == {1}
    assert [product for (product,) in lake.rows(GOLD_PRODUCTS, "product_id")] == [1, 2]


def test_rows_that_an_optimize_has_moved_are_still_read(lake: Lake) -> None:
    for number in range(2):
        lake.put([event(product_id=number)], 10 * number)
    before = lake.version(SILVER_EVENTS) - 2
    DeltaTable.forPath(lake.spark, SILVER_EVENTS.path(lake.settings)).optimize().executeCompaction()
    upto = lake.version(SILVER_EVENTS)
    rows, _ = commits.added_rows(lake.spark, SILVER_EVENTS, lake.settings, before, upto)
    assert upto == before + 3 and sorted(row.product_id for row in rows.collect()) == [0, 1]


def versions_of(lake: Lake) -> dict[str, int]:
    return {fold.table.name: lake.version(fold.table) for fold in FOLDS}


def test_corrections_tell_what_a_rebuild_changed(lake: Lake, only: Callable[..., None]) -> None:
    only()
    times = ("2019-10-01 10:00:00 UTC", "2019-10-01 12:00:00 UTC")
    lake.put([purchase(price="1.00", event_time=at) for at in times], 0)
    lake.aggregate()
    lake.keep()
    spoilt = commits.read_table(lake.spark, GOLD_PRODUCT_SALES, lake.settings).withColumn("units", F.col("units") + 1)
    commits.overwrite(
        spoilt, GOLD_PRODUCT_SALES, lake.settings, {"clock_us": lake.note(GOLD_PRODUCT_SALES)["clock_us"]}
    )
    rebuild("gold", lake.spark, lake.settings, lake.topic, False, lambda _line: None, Stop())
    lake.aggregate()
    lake.keep()
    assert lake.rows(GOLD_SALES_CORRECTIONS, "old_units", "new_units", "reason") == [(2, 1, "rebuild")]
