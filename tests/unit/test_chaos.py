"""The parts of `make chaos` that need no stack: its comparison must be able to fail."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ingest.disorder import RULES, Record
from tests.builders import event, purchase
from tests.chaos.checks import Verdict, check, same_rows, skipped, summed_up
from tests.chaos.plain import Plain, calculate
from tests.chaos.sales_reader import read_sales
from tests.chaos.sendings import Sending, as_table, made_input, spread

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
USER, LATER = 463240012, "2019-10-01 00:00:59 UTC"


@cache
def some_input() -> list[Record]:
    return made_input(4_000, 7, NOW)


def plain_of(*values: dict[str, object] | Record) -> Plain:
    rows = [value if isinstance(value, Record) else Record(b"1", json.dumps(value).encode()) for value in values]
    return calculate(as_table([Sending(0, row) for row in rows]), 60)


def test_the_input_is_as_disorderly_as_promised() -> None:
    input_ = some_input()
    good = Counter(record.value for record in input_ if not record.rules)
    assert 3_900 < len(input_) < 4_100
    assert 0.04 < sum(good.values()) / len(good) - 1 < 0.20  # the generator itself makes some copies
    broken = Counter(rule for record in input_ for rule in record.rules)
    assert set(broken) == set(RULES)
    later = made_input(4_000, 7, NOW.replace(hour=20))
    assert [record for record in later if not record.rules] == [record for record in input_ if not record.rules]
    assert made_input(4_000, 8, NOW) != input_


def test_spreading_is_seeded_and_loses_nothing() -> None:
    input_ = some_input()
    sendings = spread(input_, 3, 5)
    assert Counter(id(sending.record) for sending in sendings) == Counter(id(record) for record in input_)
    assert sendings == spread(input_, 3, 5) != spread(input_, 3, 6)
    assert {sending.partition for sending in sendings} == {0, 1, 2}
    assert [sending.record for sending in sendings] != input_


def test_copies_of_an_event_and_records_of_a_user_are_in_several_partitions() -> None:
    of_value: dict[bytes | None, set[int]] = {}
    of_user: dict[bytes | None, set[int]] = {}
    for sending in spread(some_input(), 3, 5):
        of_value.setdefault(sending.record.value, set()).add(sending.partition)
        of_user.setdefault(sending.record.key, set()).add(sending.partition)
    assert max(map(len, of_value.values())) > 1
    assert max(map(len, of_user.values())) == 3


def test_the_plain_calculation_on_a_case_done_by_hand() -> None:
    plain = plain_of(
        event(),
        event(brand=" runail "),
        purchase(price="2.62"),
        purchase(price="2.62"),
        purchase(price="0.10", user_id=USER, event_time=LATER),
        purchase(price="-1.00", event_time=LATER),
        purchase(price="0.00"),
        Record(b"1", None, ("empty_value",)),
        Record(b"1", b"{}", ("missing_price", "bad_user_id")),
    )
    assert (plain.events.num_rows, plain.copies.num_rows) == (5, 2)
    assert sorted(plain.refused["reasons"].to_pylist()) == ["bad_user_id missing_price", "empty_value"]
    (sale,) = plain.sales.to_pylist()
    assert sale == {
        "window_start_us": 1_569_888_000_000_000,
        "product_id": 5773203,
        "units": 2,
        "revenue": Decimal("2.72"),
        "buyers": 2,
        "refund_units": 1,
        "refund_amount": Decimal("1.00"),
        "last_purchase_us": 1_569_888_059_000_000,
    }
    assert plain.events["category_code"].null_count == 5


def test_values_are_normalised() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    spelled = plain_of(event(brand=composed), event(brand=decomposed, product_id="5773203", category_code=""))
    assert spelled.events.num_rows == 1
    assert plain_of(event(brand=composed), event(brand="CAF\u00c9")).events.num_rows == 2


@pytest.mark.parametrize("table", ["events", "copies", "refused", "sales"])
def test_equal_tables_are_the_same_in_any_order(table: str) -> None:
    rows = getattr(calculate(as_table(spread(some_input(), 3, 5)), 3600), table)
    again = getattr(calculate(as_table(spread(some_input(), 3, 6)), 3600), table)
    assert rows.num_rows > 20
    assert same_rows(table, rows, again).verdict is Verdict.PASSED


def test_a_dropped_a_doubled_and_a_changed_event_are_found() -> None:
    events = calculate(as_table(spread(some_input(), 3, 5)), 3600).events
    dearer = pc.add(events["price"].slice(0, 1), pa.scalar(Decimal("0.01"))).cast(events["price"].type)
    first = events.slice(0, 1).set_column(events.column_names.index("price"), "price", dearer)
    for wrong, missing, unexpected in (
        (events.slice(1), 1, 0),
        (pa.concat_tables([events, events.slice(3, 1)]), 0, 1),
        (pa.concat_tables([first, events.slice(1)]), 1, 1),
    ):
        found = same_rows("events", events, wrong)
        assert found.verdict is Verdict.FAILED
        assert (found.numbers["missing"], found.numbers["unexpected"]) == (missing, unexpected)


@pytest.mark.parametrize("column", ["units", "revenue", "buyers", "refund_units", "refund_amount"])
def test_a_wrong_number_of_one_window_is_found(column: str) -> None:
    sales = calculate(as_table(spread(some_input(), 3, 5)), 3600).sales
    wrong = sales.to_pylist()
    wrong[10][column] += 1
    assert same_rows("sales", sales, pa.Table.from_pylist(wrong, sales.schema)).verdict is Verdict.FAILED


def test_a_null_is_no_empty_text() -> None:
    expected, actual = pa.table({"a": pa.array([None], pa.string())}), pa.table({"a": [""]})
    assert same_rows("nulls", expected, expected).verdict is Verdict.PASSED
    assert same_rows("nulls", expected, actual).verdict is Verdict.FAILED


def test_tables_with_other_columns_are_not_compared() -> None:
    with pytest.raises(ValueError, match="Columns differ"):
        same_rows("columns", pa.table({"a": [1]}), pa.table({"b": [1]}))


def test_the_reader_of_sales_keeps_the_highest_revision() -> None:
    def row(revision: int, units: int) -> bytes:
        return json.dumps({"revision": revision, "units": units, "revenue": f"{units}.10"}).encode()

    sales = read_sales(
        [(0, b"a", row(1, 1)), (0, b"a", row(3, 3)), (0, b"a", row(2, 2)), (1, b"b", row(1, 1)), (1, b"b", None)]
    )
    assert sales.as_table().to_pylist() == [{"key": "a", "units": 3, "revenue": Decimal("3.10"), "revision": 3}]
    assert (sales.records, sales.tombstones, sales.contradictions) == (5, 1, 0)
    assert read_sales([(0, b"a", row(1, 1)), (0, b"a", row(1, 2))]).contradictions == 1


def test_the_last_line_counts_verdicts() -> None:
    passed, failed = check("a", True, rows=1_000), check("b", False)
    assert summed_up([passed, passed, failed]) == "2 passed, 1 failed"
    assert summed_up([passed, skipped("c", "no reason")]) == "1 passed, 0 failed, 1 skipped"
    assert str(passed) == "ok      a: rows 1,000"
