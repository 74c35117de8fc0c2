"""The measuring: which purchase is counted in which record of sales, and what becomes of those that are not."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from bench.latency import is_right
from bench.latency import text as latency_text
from bench.measure import Payments, Waits, seconds
from bench.open_loop import Measured
from bench.ratios import OURS, TEXTBOOK, Limits, broken_limits, result_of, text
from bench.record import recorded, versions
from bench.throughput import make_records
from bench.usage import spent
from lakehouse.wire import to_json
from tests.builders import event, purchase

MINUTE = "2026-01-02 03:04:00 UTC"


@pytest.fixture
def payments() -> Payments:
    return Payments(window_s=60)


def pay(payments: Payments, at_s: float, **fields: Any) -> bool:
    return payments.paid(json.dumps(purchase(**({"event_time": MINUTE} | fields))).encode(), at_s)


def show(payments: Payments, at_s: float, units: int, refund_units: int = 0, **fields: Any) -> None:
    row = {
        "window_start_at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        "product_id": 5773203,
        "units": units,
        "refund_units": refund_units,
    }
    payments.shown(to_json(row | fields), at_s)


def waits_of(payments: Payments, since_s: float = 0.0, end_s: float = 1000.0) -> list[float]:
    return sorted(payments.waits(since_s, end_s).waits_s)


def test_the_earliest_payments_of_a_product_and_window_are_counted_first(payments: Payments) -> None:
    pay(payments, 12.0, user_id=2)
    pay(payments, 10.0, user_id=1)
    pay(payments, 14.0, user_id=3)
    show(payments, 15.0, units=1)  # the payment of 10 s
    show(payments, 18.0, units=3)  # those of 12 s and 14 s
    assert waits_of(payments) == [4.0, 5.0, 6.0]
    assert payments.waiting() == 0


def test_a_sale_that_is_read_before_its_payment_counts(payments: Payments) -> None:
    show(payments, 11.0, units=1)
    assert payments.too_many() == 1
    pay(payments, 10.0)
    assert waits_of(payments) == [1.0] and payments.too_many() == 0


def test_a_record_delivered_again_or_late_with_fewer_units_changes_nothing(payments: Payments) -> None:
    pay(payments, 10.0, user_id=1)
    pay(payments, 10.0, user_id=2)
    show(payments, 12.0, units=2)
    show(payments, 20.0, units=1)
    show(payments, 30.0, units=2)
    assert waits_of(payments) == [2.0, 2.0]


def test_other_windows_and_products_are_matched_apart(payments: Payments) -> None:
    pay(payments, 10.0, event_time="2026-01-02 03:04:59 UTC")
    pay(payments, 10.0, event_time="2026-01-02 03:05:00 UTC")
    pay(payments, 10.0, product_id=7)
    show(payments, 13.0, units=1)
    found = payments.waits(0.0, 100.0)
    assert sorted(found.waits_s) == [3.0, 90.0, 90.0] and found.lost == 2


def test_a_refund_is_counted_by_refund_units_alone(payments: Payments) -> None:
    assert pay(payments, 10.0, price="2.62")
    assert pay(payments, 11.0, price="-2.62")
    show(payments, 12.0, units=1)
    assert payments.waiting() == 1
    show(payments, 14.0, units=1, refund_units=1)
    assert waits_of(payments) == [2.0, 3.0]


def test_copies_free_goods_and_other_events_are_not_waited_for(payments: Payments) -> None:
    assert pay(payments, 10.0)
    assert not pay(payments, 50.0)
    assert not pay(payments, 50.0, price="0.00", user_id=9)
    assert not payments.paid(json.dumps(event(event_time=MINUTE)).encode(), 50.0)
    assert not payments.paid(json.dumps(event(event_time=MINUTE, brand="purchase")).encode(), 50.0)
    assert not payments.paid(b"no JSON", 50.0)
    show(payments, 11.0, units=1)
    assert waits_of(payments) == [1.0]


def test_what_is_not_seen_is_lost_and_has_waited_until_the_end(payments: Payments) -> None:
    pay(payments, 10.0, user_id=1)
    pay(payments, 20.0, user_id=2)
    show(payments, 11.0, units=1)
    found = payments.waits(0.0, 100.0)
    assert sorted(found.waits_s) == [1.0, 80.0]
    assert found.lost == payments.waiting() == 1


def test_the_warm_up_takes_part_in_the_match_but_not_in_the_result(payments: Payments) -> None:
    pay(payments, 10.0, user_id=1)
    pay(payments, 20.0, user_id=2)
    show(payments, 18.0, units=1)
    show(payments, 23.0, units=2)
    assert waits_of(payments, since_s=20.0) == [3.0]


def test_units_that_nobody_sent_are_found(payments: Payments) -> None:
    pay(payments, 10.0)
    show(payments, 11.0, units=3)
    assert payments.too_many() == 2


def test_percentiles() -> None:
    summary = Waits([i / 100 for i in range(1000)], lost=0).summary()
    assert summary == {"p50_s": 5.0, "p95_s": 9.5, "p99_s": 9.9, "max_s": 9.99, "purchases": 1000, "lost": 0}
    assert Waits([], 0).summary()["p99_s"] is None


@pytest.mark.parametrize(
    "at", ["2026-01-02 03:04:05 UTC", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000Z", "2026-01-02T03:04:05"]
)
def test_times_of_events_and_of_both_kinds_of_sales_records(at: str) -> None:
    assert seconds(at) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()


def test_a_record_as_sparks_to_json_writes_it(payments: Payments) -> None:
    """Numbers are numbers, money is text, times have milliseconds, nulls are left out."""
    pay(payments, 10.0)
    payments.shown(
        b'{"product_id":5773203,"units":1,"revenue":"2.62","buyers":1,"refund_units":0,"refund_amount":"0.00",'
        b'"window_start_at":"2026-01-02T03:04:00.000Z","window_end_at":"2026-01-02T03:05:00.000Z","revision":3}',
        12.5,
    )
    assert waits_of(payments) == [2.5]


def measured(p99_s: float, lost: int = 0, others_share: float = 0.05) -> Measured:
    waits = Waits([p99_s] * 10, lost)
    facts = {
        "rate_per_s": 300.0,
        "seconds": 40.0,
        "warm_up_s": 30.0,
        "topic": waits.summary(),
        "units_never_sent": 0,
        "feeder": "",
        "load_average_before": [1.0, 1.0, 1.0],
        "load_average_after": [2.0, 1.0, 1.0],
        "cpu_s": {"Kafka": 1.0, "pipeline": 20.0},
        "machine_cpu_s": 60.0,
        "others_cpu_share": others_share,
        "peak_memory_mb": {"Kafka": 200},
    }
    return Measured(facts, waits)


def test_ratios_by_pair_and_of_all_rounds() -> None:
    rounds = [
        (TEXTBOOK, measured(20.0, lost=1)),
        (OURS, measured(2.0)),
        (TEXTBOOK, measured(40.0)),
        (OURS, measured(1.0)),
    ]
    result = result_of(rounds)
    assert result["p99_ratios"] == [10.0, 40.0]
    assert result["p99_ratio"] == 20.0
    assert [found["not_delivered_share"] for found in result["rounds"]] == [0.1, 0.0, 0.0, 0.0]
    assert "20.0 times" in text(result)
    assert broken_limits(result, Limits(least_ratio=20.0, most_p99_s=2.0)) == []
    assert len(broken_limits(result, Limits(least_ratio=20.1, most_p99_s=1.9))) == 2


def test_on_a_busy_machine_the_ratio_alone_counts() -> None:
    slow = [(TEXTBOOK, measured(100.0)), (OURS, measured(8.0))]
    assert len(broken_limits(result_of(slow), Limits())) == 1
    busy = [(TEXTBOOK, measured(100.0, others_share=0.0)), (OURS, measured(8.0, others_share=0.5))]
    assert broken_limits(result_of(busy), Limits()) == []
    assert len(broken_limits(result_of(busy), Limits(least_ratio=13.0))) == 1


def test_a_measurement_without_purchases_is_no_success() -> None:
    nothing = Measured(measured(1.0).facts | {"topic": Waits([], 0).summary()}, Waits([], 0))
    assert not is_right(nothing.facts)
    assert len(broken_limits(result_of([(TEXTBOOK, nothing), (OURS, nothing)]), Limits())) == 2


def test_a_lost_purchase_or_one_too_many_is_no_success() -> None:
    assert is_right(measured(1.0).facts)
    lost = measured(1.0, lost=1).facts
    assert not is_right(lost) and "LOST: 1 " in latency_text(lost)
    doubled = measured(1.0).facts | {"units_never_sent": 2}
    assert not is_right(doubled) and "WRONG: 2 " in latency_text(doubled)


def test_cpu_time_of_a_program_that_was_started_again_is_never_negative() -> None:
    assert spent({"Kafka": 5.0, "pipeline": 40.0}, {"Kafka": 6.5, "pipeline": 3.0}) == {"Kafka": 1.5, "pipeline": 0.0}


def test_bulk_events_are_as_many_as_asked_and_none_is_of_the_future() -> None:
    now = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    keys, values = make_records(3000, now)
    assert len(keys) == len(values) == 3000
    newest_s = max(seconds(json.loads(value)["event_time"]) for value in values)
    assert now.timestamp() - 600 < newest_s < now.timestamp()


def test_a_kept_result_says_when_where_and_with_what() -> None:
    result = recorded({"p99_ratio": 20.0}, datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    assert result["measured_at"] == "2026-01-02T03:04:00+00:00" and result["p99_ratio"] == 20.0
    assert result["machine"]["cores"] >= 1
    assert {"python", "pyspark", "delta-spark", "kafka"} <= versions().keys()
