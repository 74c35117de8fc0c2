"""A purchase that comes late is counted in its own window, under a higher revision."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from gold.aggregate import Aggregation
from lakehouse.tables import GOLD_PRODUCT_SALES, SILVER_EVENTS, Table
from lakehouse.topics import Key, Row
from tests.builders import event, purchase, record, records
from tests.flow.steps import FakeTopic, Lake

WINDOW = datetime(2019, 10, 1, 12, tzinfo=UTC), 1
LATER = event(event_time="2019-11-01 00:00:00 UTC")


def sold(second: int, price: str, user: int) -> dict:
    return purchase(event_time=f"2019-10-01 12:00:{second:02} UTC", price=price, user_id=user, product_id=1)


def test_a_purchase_older_than_the_memory_recounts_its_window_and_raises_the_revision(lake: Lake) -> None:
    lake.land(records([sold(1, "5.00", 1), sold(2, "-1.00", 2), LATER]))
    lake.refine()
    lake.aggregate()
    before = lake.sales()[WINDOW]
    lake.land(records([sold(30, "0.10", 3), sold(1, "5.00", 1)], first_offset=3))
    lake.refine()
    # A new process remembers the last minute before the newest event, a month after this window.
    aggregation = lake.aggregate()
    assert not aggregation._purchases._recent.covers(int(WINDOW[0].timestamp()) * 1_000_000)
    after = lake.sales()[WINDOW]
    assert after["revision"] > before["revision"] and after["updated_at"] > before["updated_at"]
    facts = ("units", "revenue", "buyers", "refund_units", "refund_amount", "last_purchase_at")
    assert [after[name] for name in facts] == [
        2,
        Decimal("5.10"),
        2,
        1,
        Decimal("1.00"),
        datetime(2019, 10, 1, 12, 0, 30, tzinfo=UTC),
    ]
    lake.assert_published()
    assert len(lake.topic.rows) == 2


def test_a_purchase_older_than_a_full_memory_recounts_its_window(lake: Lake) -> None:
    many = [
        purchase(event_time=f"2019-10-02 {n // 60:02}:{n % 60:02}:00 UTC", user_id=n, product_id=2) for n in range(1100)
    ]
    lake.land(records([sold(1, "5.00", 1), *many]))
    lake.refine()
    aggregation = lake.aggregate()
    assert aggregation._purchases._recent.horizon_us is not None, "the memory is not full"
    assert len(lake.sales()) == 1101
    lake.land(records([sold(2, "0.10", 2)], first_offset=2000))
    lake.refine()
    lake.aggregate(aggregation)
    row = lake.sales()[WINDOW]
    assert (row["units"], row["revenue"], row["buyers"]) == (2, Decimal("5.10"), 2)
    lake.assert_published()


def test_a_window_carries_the_time_of_the_oldest_payment_that_a_change_counts_in(lake: Lake) -> None:
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    lake.land([record(sold(1, "5.00", 1), 0, kafka_at=late), record(sold(2, "6.00", 2), 1, kafka_at=early)])
    lake.refine()
    lake.aggregate()
    assert lake.topic.paid_at_us == [{WINDOW: int(early.timestamp()) * 1_000_000}]


class RoundAtEachPublication(FakeTopic):
    """Between any two parts of a commit a round may come."""

    def __init__(self, lake: Lake) -> None:
        super().__init__()
        self._lake = lake
        self.aggregation: Aggregation | None = None
        self.rows_in_gold: list[int] = []

    def publish(self, table: Table, rows: list[Row], paid_at_us: Mapping[Key, int] | None = None) -> None:
        super().publish(table, rows, paid_at_us)
        assert self.aggregation is not None
        self.aggregation.upsert()
        self.rows_in_gold.append(len(self._lake.sales()))


@pytest.mark.usefixtures("file_by_file")
def test_a_commit_of_silver_read_in_parts_is_in_gold_exactly_and_only_when_all_is_through(lake: Lake) -> None:
    """Silver's commit has a file for each day, and gold gets them one by one."""
    days = [purchase(event_time=f"2019-10-0{day} 12:00:00 UTC", product_id=day, price="1.01") for day in (1, 2, 3, 4)]
    lake.land(records([*days, *(sold(second, "2.00", second) for second in (1, 2))]))
    lake.refine()
    lake.topic = topic = RoundAtEachPublication(lake)
    topic.aggregation = Aggregation(lake.spark, lake.settings, topic)
    lake.aggregate_by_stream(topic.aggregation)
    # Gold never holds a part of a commit: it would match no version of silver.
    assert topic.rows_in_gold == [0, 0, 0, 0]
    assert {key[1]: (row["units"], row["revenue"]) for key, row in lake.sales().items()} == {
        1: (3, Decimal("5.01")),
        2: (1, Decimal("1.01")),
        3: (1, Decimal("1.01")),
        4: (1, Decimal("1.01")),
    }
    assert lake.note(GOLD_PRODUCT_SALES)["silver_version"] == lake.version(SILVER_EVENTS)
    assert topic.aggregation.read_version == lake.version(SILVER_EVENTS)
    lake.assert_published()
