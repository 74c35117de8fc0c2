"""What the sink says after a batch, and what a listener makes of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.tables import GOLD_PRODUCT_SALES, GOLD_PRODUCTS
from serving.merge import Incoming
from serving.notice import EVERYTHING, MOST_TOGETHER, Notice, notice_text, read_notice, together

AT = datetime(2026, 1, 2, tzinfo=UTC)
SALES, PRODUCTS = GOLD_PRODUCT_SALES.name, GOLD_PRODUCTS.name
MOST_BYTES = 8000
"""PostgreSQL's NOTIFY takes fewer."""


def sale(minute: int, product_id: int = 1, row: str | None = "{}", paid_at_us: int | None = None) -> Incoming:
    at = (AT + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")
    return Incoming(("product-sales", 0), 0, f"{at}|{product_id}", 1, row, paid_at_us)


def test_a_notice_names_tables_windows_payments_and_when_it_was_stored() -> None:
    records = {SALES: [sale(0, 1, paid_at_us=5_000), sale(0, 2), sale(3, paid_at_us=2_999)], PRODUCTS: [sale(9)]}
    windows = frozenset({AT, AT + timedelta(minutes=3)})
    assert read_notice(notice_text(records, 77)) == Notice(frozenset({SALES, PRODUCTS}), windows, (2, 5), 77)


def test_a_withdrawn_row_names_its_window_too() -> None:
    assert read_notice(notice_text({SALES: [sale(2, row=None)]}, 1)).windows == {AT + timedelta(minutes=2)}


def test_a_batch_without_sales_changes_no_window() -> None:
    assert read_notice(notice_text({PRODUCTS: [sale(0)]}, 1)).windows == frozenset()


def test_of_an_emptied_table_and_of_very_many_windows_none_is_named() -> None:
    assert read_notice(notice_text({SALES: []}, 1)).windows is None
    assert read_notice(notice_text({SALES: [sale(minute) for minute in range(3000)]}, 1)).windows is None


def test_a_notice_is_never_too_long_for_postgresql() -> None:
    now_us = 1_800_000_000_000_000
    records = [sale(minute % 150, minute, paid_at_us=now_us + minute * 1000) for minute in range(5000)]
    text = notice_text({SALES: records, **{f"gold.{'x' * 30}{each}": [sale(0)] for each in range(12)}}, now_us // 1000)
    assert len(text.encode()) < MOST_BYTES
    told = read_notice(text)
    assert told.windows is not None and len(told.windows) == 150
    assert told.paid_at_ms[0] == now_us // 1000 and told.paid_at_ms[-1] == now_us // 1000 + 4999


TOLD: dict[str, Any] = {"tables": [SALES], "windows": ["2026-01-02T00:00:00Z"], "paid_at_ms": [1], "stored_at_ms": 2}


@pytest.mark.parametrize(
    "other",
    [
        {"windows": ["abc"]},
        {"windows": ["2026-01-02T00:00:00"]},
        {"windows": ["infinity"]},
        {"windows": 1},
        {"windows": [None]},
        {"paid_at_ms": ["1"]},
        {"paid_at_ms": [-1]},
        {"paid_at_ms": [10**18]},
        {"paid_at_ms": [float("nan")]},
        {"paid_at_ms": None},
        {"stored_at_ms": True},
        {"stored_at_ms": 10**300},
        {"tables": 1},
    ],
    ids=str,
)
def test_a_notice_of_somebody_else_that_cannot_be_read_says_that_anything_may_be_new(other: dict[str, Any]) -> None:
    assert read_notice(json.dumps(TOLD)).windows == {AT}
    assert read_notice(json.dumps(TOLD | other)) == EVERYTHING


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.datetimes().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)


@given(st.text() | st.dictionaries(st.sampled_from(sorted(TOLD)), VALUES).map(lambda other: json.dumps(TOLD | other)))
@pytest.mark.parametrize("wrapped", ["{}", "[" * 3990])
def test_any_notice_can_be_read_and_put_together_with_others(wrapped: str, text: str) -> None:
    whole = together([read_notice(text), read_notice(wrapped), read_notice(json.dumps(TOLD))])
    assert whole.windows is None and all(0 < each < 2**42 for each in whole.paid_at_ms)
    assert SALES in whole.tables and whole.stored_at_ms >= 2


def test_very_many_notices_become_one_that_names_no_window() -> None:
    def of(number: int) -> Notice:
        windows = frozenset(AT + timedelta(minutes=150 * number + minute) for minute in range(150))
        return Notice(frozenset(), windows, (number,) * 200, 0)

    whole = together(map(of, range(200)))
    assert whole.windows is None and len(whole.paid_at_ms) == MOST_TOGETHER and whole.paid_at_ms[-1] == 199


def test_several_notices_are_one() -> None:
    one = Notice(frozenset({SALES}), frozenset({AT}), (1,), 5)
    other = Notice(frozenset({PRODUCTS}), frozenset(), (), 4)
    assert together([one, other]) == Notice(frozenset({SALES, PRODUCTS}), frozenset({AT}), (1,), 5)
    assert together([one, Notice(frozenset({SALES}), None, (), 6)]).windows is None
    assert together([]) == Notice(frozenset(), frozenset(), (), 0)
