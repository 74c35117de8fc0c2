"""What the demo's store has done until now: weeks of it, with all that happens to a store's events on their way."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta

import pytest

from ingest.disorder import Record
from operate.generated_feed import LAST_HOUR, PAST, Past, has_read, past

NOW = datetime(2026, 11, 29, 15, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def weeks() -> Past:
    return past(1, NOW, None)


def events_of(records: list[Record]) -> list[dict[str, str]]:
    return [json.loads(record.value or b"") for record in records if not record.rules]


def at(event: dict[str, str]) -> datetime:
    return datetime.strptime(event["event_time"], "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)


def test_weeks_end_now_in_the_order_of_time(weeks: Past) -> None:
    times = [at(event) for event in events_of(weeks.records)]
    assert times == sorted(times)
    assert NOW - PAST <= times[0] < NOW - PAST + timedelta(days=2)
    assert NOW - timedelta(seconds=10) < times[-1] < NOW


def test_carts_of_the_last_hour_come_to_be_abandoned_while_somebody_looks(weeks: Past) -> None:
    """Left half an hour ago, within minutes: so many that the page has something to show."""
    due = (NOW - timedelta(minutes=30), NOW - timedelta(minutes=27))
    carts = [
        event for event in events_of(weeks.records) if event["event_type"] == "cart" and due[0] < at(event) < due[1]
    ]
    assert len({event["user_session"] for event in carts}) > 10


def test_there_are_customers_to_learn_from_before_and_in_the_holdout(weeks: Past) -> None:
    orders = defaultdict(set)
    for event in events_of(weeks.records):
        if event["event_type"] == "purchase" and at(event) < NOW - LAST_HOUR:
            orders[event["user_id"]].add(at(event))
    assert sum(len(times) > 1 for times in orders.values()) > 100
    assert sum(time > NOW - timedelta(days=14) for times in orders.values() for time in times) > 100


def test_records_are_doubled_broken_and_late_as_in_life(weeks: Past) -> None:
    values = Counter(record.value for record in weeks.records)
    assert sum(count - 1 for count in values.values()) > 100
    rules = {rule for record in weeks.records for rule in record.rules}
    assert {"not_json", "missing_price", "bad_event_time"} <= rules
    assert 10 < sum(bool(record.rules) for record in weeks.records) < 0.005 * len(weeks.records)
    late = events_of(weeks.late)
    assert late and {event["event_type"] for event in late} == {"purchase"}
    # Their windows had ended long before: each changes one that was thought complete.
    assert all(NOW - timedelta(hours=42) <= at(event) <= NOW - timedelta(hours=18) for event in late)
    assert not values.keys() & {record.value for record in weeks.late}


def test_the_same_seed_and_time_make_the_same_past(weeks: Past) -> None:
    assert past(1, NOW, None) == weeks
    assert past(2, NOW, None).records != weeks.records


@pytest.mark.parametrize("minutes", [1, 20])
def test_a_lake_that_has_events_gets_those_since_then(minutes: int) -> None:
    since = NOW - timedelta(minutes=minutes)
    made = past(1, NOW, since)
    times = [at(event) for event in events_of(made.records)]
    assert len(times) > 60 * minutes
    assert since.replace(microsecond=0) <= min(times) and max(times) < NOW
    assert made.late == []


def test_after_a_long_time_it_is_the_last_hour() -> None:
    times = [at(event) for event in events_of(past(1, NOW, datetime(2019, 12, 1, tzinfo=UTC)).records)]
    assert min(times) >= NOW - LAST_HOUR


def test_a_lake_from_the_future_gets_nothing() -> None:
    assert past(1, NOW, NOW + timedelta(hours=1)) == Past([], [])


@pytest.mark.parametrize(
    ("read", "is_there"),
    [({"a": {"0": 5, "1": 7}}, True), ({"a": {"0": 5, "1": 6}}, False), ({"a": {"0": 9}}, False), ({}, False)],
)
def test_the_stream_starts_when_all_of_the_past_is_read(read: dict[str, dict[str, int]], is_there: bool) -> None:
    assert has_read(read, {"a": {"0": 5, "1": 7}}) is is_there


@pytest.mark.parametrize("hour", [1, 5, 9, 13, 21])
@pytest.mark.parametrize("seed", [1, 2])
def test_at_any_hour_there_are_late_sales(hour: int, seed: int) -> None:
    assert past(seed, NOW.replace(hour=hour), None).late
