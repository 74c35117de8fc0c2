"""The live page's sums: whatever windows change and however time goes on, they are those of a plain calculation."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.live import sums as module
from serving.live.sums import SPANS, TODAY, Sold, Sum, Sums

MIDNIGHT = datetime(2026, 1, 2, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

PRODUCTS = st.dictionaries(
    st.integers(1, 6), st.tuples(st.integers(0, 5), st.integers(0, 999), st.integers(0, 99)), max_size=4
)
CHANGES = st.lists(st.tuples(st.integers(0, 50 * 60), PRODUCTS), max_size=12)
STEPS = st.lists(st.tuples(st.integers(0, 600), CHANGES), min_size=1, max_size=6)


@pytest.fixture(autouse=True, scope="module")
def _few_places() -> Iterator[None]:
    """So that they are given back all the time."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(module, "_FEW_PRODUCTS", 2)
        yield


@given(start=st.integers(0, 30 * 60), steps=STEPS)
def test_sums_follow_windows_and_time(start: int, steps: list) -> None:
    now_at, sums = MIDNIGHT + start * MINUTE, Sums()
    windows: dict[datetime, list[Sold]] = {}
    for minutes, changes in steps:
        now_at += minutes * MINUTE
        sums.move(now_at)
        for at_minute, products in changes:
            at = MIDNIGHT - timedelta(days=1) + at_minute * MINUTE
            rows = [Sold(product_id, *sold) for product_id, sold in products.items()]
            if at > Sums.since(now_at):
                windows[at] = rows
            sums.replace(at, rows)
        for name in (*SPANS, TODAY):
            begin = now_at.replace(hour=0, minute=0) if name == TODAY else now_at - SPANS[name] + MINUTE / 60
            assert_is_as_calculated(sums, name, {at: rows for at, rows in windows.items() if at >= begin and rows})


def assert_is_as_calculated(sums: Sums, name: str, windows: dict[datetime, list[Sold]]) -> None:
    rows = [row for rows in windows.values() for row in rows]
    assert sums.sum(name) == total(rows)
    assert sums.windows(name) == {at: total(windows[at]) for at in sorted(windows)}
    ids = {row.product_id for row in rows}
    by_product = {each: total([row for row in rows if row.product_id == each]) for each in ids}
    ranked = sorted(
        (Sold(each, sold.units, sold.revenue_cents) for each, sold in by_product.items() if sold.units),
        key=lambda sold: (-sold.revenue_cents, sold.product_id),
    )
    for count in (1, 3, 10):
        assert sums.top(name, count) == ranked[:count]


def total(rows: list[Sold]) -> Sum:
    return Sum(
        sum(row.units for row in rows), sum(row.revenue_cents for row in rows), sum(row.refund_cents for row in rows)
    )


def test_the_span_of_an_hour_begins_after_its_first_minute_as_the_view_has_it() -> None:
    """`sales_last_hour`: window_start_at > now - 1 hour."""
    sums, now_at = Sums(), MIDNIGHT + timedelta(hours=5)
    sums.move(now_at)
    for back in (timedelta(hours=1), timedelta(hours=1) - MINUTE):
        sums.replace(now_at - back, [Sold(1, 1, 100)])
    assert sums.sum("hour") == Sum(1, 100)
    sums.move(now_at + MINUTE)  # now it is an hour old, to the second
    assert sums.sum("hour") == Sum()


def test_at_midnight_today_begins_anew() -> None:
    sums = Sums()
    sums.move(MIDNIGHT - MINUTE)
    sums.replace(MIDNIGHT - MINUTE, [Sold(1, 1, 100)])
    assert sums.sum(TODAY) == Sum(1, 100)
    sums.move(MIDNIGHT)
    assert sums.sum(TODAY) == Sum() and sums.sum("hour") == Sum(1, 100)


def test_a_clock_that_goes_back_is_noticed() -> None:
    sums = Sums()
    assert not sums.goes_back(MIDNIGHT)
    sums.move(MIDNIGHT)
    assert sums.goes_back(MIDNIGHT - MINUTE) and not sums.goes_back(MIDNIGHT)


def test_products_that_are_sold_no_more_are_forgotten() -> None:
    sums, first = Sums(), 0
    for hour in range(8 * 24):
        at, first = MIDNIGHT + timedelta(hours=hour), 500 * hour
        sums.move(at)
        sums.replace(at, [Sold(product_id, 1, 100) for product_id in range(first, first + 500)])
        assert sums.distinct <= 25 * 500
        assert sums.sum("hour") == Sum(500, 50_000)
    assert sums.sum("day") == Sum(24 * 500, 24 * 50_000)
    assert sums.top("hour", 1) == [Sold(first, 1, 100)]


def test_of_very_many_products_all_count_and_the_first_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PRODUCTS", 3)
    sums = Sums()
    sums.move(MIDNIGHT)
    sums.replace(MIDNIGHT, [Sold(product_id, 1, product_id, 2) for product_id in range(1, 11)])
    sums.replace(MIDNIGHT - MINUTE, [Sold(product_id, 1, 10) for product_id in range(8, 18)])
    assert sums.distinct == 3
    assert sums.sum("hour") == Sum(20, 55 + 100, 20)
    assert sums.top("hour", 9) == [Sold(3, 1, 3), Sold(2, 1, 2), Sold(1, 1, 1)]
    sums.replace(MIDNIGHT, [Sold(9, 1, 9)])
    assert sums.sum("hour") == Sum(11, 109)
    later_at = MIDNIGHT + timedelta(days=1, hours=1)
    sums.move(later_at)
    sums.replace(later_at, [Sold(20, 1, 7)])
    assert sums.sum("hour") == Sum(1, 7) and sums.top("hour", 9) == [Sold(20, 1, 7)]
