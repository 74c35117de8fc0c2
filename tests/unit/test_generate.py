"""The synthetic stream: always the same, shaped as the real store is, with the stated laws of customers in it."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.catalogue import catalogue
from ingest.csv_files import write_csv_files
from ingest.customers import Customers
from ingest.disorder import RULES, records, with_broken, with_copies, with_late
from ingest.event_batch import EventBatch, Writer, money
from ingest.generate import events_from, history
from ingest.shape import StoreShape
from ingest.week import busy_week
from lakehouse.event_contract import FIELDS

SHAPE = StoreShape()
MONDAY = datetime(2020, 2, 3, tzinfo=UTC)
DAYS = 2.2
Event = dict[str, str]


def events(batch: EventBatch) -> list[Event]:
    """One dict of the nine columns per event, all text, as in a CSV file."""
    lines = batch.to_csv().decode().splitlines()
    return [dict(zip(FIELDS, line.split(","), strict=True)) for line in lines]


def all_rows(shape: StoreShape = SHAPE, seed: int = 1, days: float = DAYS) -> list[Event]:
    return [event for batch in history(shape, seed, MONDAY, days) for event in events(batch)]


@pytest.fixture(scope="module")
def rows() -> list[Event]:
    """About 300,000 events."""
    return all_rows()


@pytest.fixture(scope="module")
def sessions(rows: list[Event]) -> dict[str, list[Event]]:
    found = defaultdict(list)
    for row in rows:
        if row["user_session"]:
            found[row["user_session"]].append(row)
    return dict(found)


def share(values: list[bool]) -> float:
    return sum(values) / len(values)


def test_the_mix_of_types_is_the_real_one(rows: list[Event]) -> None:
    count = Counter(row["event_type"] for row in rows)
    for kind, expected in (("view", 0.467), ("cart", 0.279), ("remove_from_cart", 0.192), ("purchase", 0.062)):
        assert count[kind] / len(rows) == pytest.approx(expected, abs=0.015), kind
    assert len(rows) / DAYS == pytest.approx(SHAPE.rows_per_day, rel=0.1)


def test_sessions_look_cart_and_buy_as_often_as_real_ones(sessions: dict[str, list[Event]]) -> None:
    kinds = [{row["event_type"] for row in session} for session in sessions.values()]
    assert np.mean([len(s) for s in sessions.values()]) == pytest.approx(4.6, abs=0.25)
    assert share(["view" in k for k in kinds]) == pytest.approx(0.94, abs=0.02)
    assert share(["cart" in k for k in kinds]) == pytest.approx(0.22, abs=0.02)
    assert share(["purchase" in k for k in kinds]) == pytest.approx(0.034, abs=0.005)


def test_copies_are_mostly_removes_and_at_most_four(rows: list[Event]) -> None:
    times_sent = Counter(tuple(row.values()) for row in rows)
    copies = Counter({row: n - 1 for row, n in times_sent.items() if n > 1})
    assert copies.total() / len(rows) == pytest.approx(0.054, abs=0.006)
    assert sum(n for row, n in copies.items() if row[1] == "remove_from_cart") / copies.total() > 0.8
    assert sum(n == 4 for n in times_sent.values()) > 0


def test_an_order_is_one_second_of_one_user_and_half_of_it_was_never_seen(sessions: dict[str, list[Event]]) -> None:
    seconds, unseen = [], []
    for session in sessions.values():
        bought = [r for r in session if r["event_type"] == "purchase" and not r["price"].startswith("-")]
        seen = {r["product_id"] for r in session if r["event_type"] in ("view", "cart")}
        if bought:
            seconds.append(len({r["event_time"] for r in bought}))
            unseen += [r["product_id"] not in seen for r in bought]
    assert share([n == 1 for n in seconds]) > 0.99
    assert len(unseen) / len(seconds) == pytest.approx(8.3, abs=1.0)
    assert share(unseen) == pytest.approx(0.46, abs=0.03)


def test_removes_are_of_carted_and_of_other_products(sessions: dict[str, list[Event]]) -> None:
    carted_before = []
    for session in sessions.values():
        carted = set()
        for row in session:
            if row["event_type"] == "cart":
                carted.add(row["product_id"])
            elif row["event_type"] == "remove_from_cart":
                carted_before.append(row["product_id"] in carted)
    assert share(carted_before) == pytest.approx(0.37, abs=0.05)


def test_prices_brands_and_popularity(rows: list[Event]) -> None:
    cents = np.array([round(float(row["price"]) * 100) for row in rows])
    for quantile, expected in ((0.25, 206), (0.5, 405), (0.75, 706)):
        assert np.quantile(cents, quantile) == pytest.approx(expected, rel=0.08)
    assert cents.mean() == pytest.approx(853, rel=0.08)
    assert cents.max() <= 32_778
    assert catalogue(SHAPE).price_cents.max() == 32_778
    assert share([row["price"] == "0.00" for row in rows]) == pytest.approx(0.005, abs=0.002)
    assert share([row["brand"] == "" for row in rows]) == pytest.approx(0.423, abs=0.02)
    assert share([row["category_code"] == "" for row in rows]) == pytest.approx(0.983, abs=0.005)
    bought = Counter(row["product_id"] for row in rows if row["event_type"] == "purchase")
    assert 0.002 < bought.most_common(1)[0][1] / bought.total() < 0.012
    assert all(int(row["category_id"]) > 2**53 for row in rows[:1000])


def test_few_rows_have_no_session_and_few_sessions_two_users(
    rows: list[Event], sessions: dict[str, list[Event]]
) -> None:
    blank = [row["event_type"] for row in rows if not row["user_session"]]
    assert 0.0001 < len(blank) / len(rows) < 0.0004
    assert blank.count("cart") / len(blank) > 0.7
    shared = [s for s in sessions.values() if len({row["user_id"] for row in s}) > 1]
    assert 0 < len(shared) < 0.0005 * len(sessions)


def test_nobody_is_about_at_one_and_everybody_at_nineteen() -> None:
    at = np.concatenate([batch.rows["at_ms"] for batch in history(SHAPE, 1, MONDAY, 7)])
    hours = np.bincount(at // 3_600_000 % 24, minlength=24)
    days = np.bincount((at // 86_400_000 - 4) % 7, minlength=7)
    assert (hours.argmin(), hours.argmax()) == (1, 19)
    assert hours[19] / hours[1] == pytest.approx(641 / 77, rel=0.15)
    assert (days.argmax(), days.argmin()) == (3, 5)


def test_store_time_and_clock_time_are_inverse_and_near() -> None:
    week, clock_s = busy_week(), MONDAY.timestamp() + np.arange(0, 15 * 86_400, 977.0)
    assert np.allclose(week.clock_time(week.store_time(clock_s)), clock_s, atol=1e-3)
    assert np.abs(week.store_time(clock_s) - clock_s).max() < 43_200


def test_the_same_seed_and_start_are_the_same_bytes() -> None:
    def digest(seed: int, start_at: datetime) -> str:
        values = [value for batch in history(SHAPE, seed, start_at, 0.1) for value in batch.json_values()]
        return hashlib.sha256(b"".join(value + b"\n" for value in values)).hexdigest()

    assert digest(7, MONDAY) == digest(7, MONDAY) == GOLDEN
    assert digest(8, MONDAY) != GOLDEN != digest(7, MONDAY + timedelta(days=1))


# Made with numpy 2.4. Another numpy may draw other numbers from the same seed; then only this line may change.
GOLDEN = "666e283c5587e881fe810cb981f6ddd441335565c8b714907a25661ebc9a6e98"


def test_events_are_in_the_order_of_time_and_within_the_stretch(rows: list[Event]) -> None:
    assert all(a["event_time"] <= b["event_time"] for a, b in pairwise(rows))
    assert rows[0]["event_time"] >= "2020-02-03 00:00:00 UTC"
    assert rows[-1]["event_time"] < "2020-02-05 04:48:00 UTC"


def test_a_live_stream_has_its_rate_from_the_first_minute() -> None:
    first = next(events_from(SHAPE, 1, MONDAY, 500.0))
    minutes = np.bincount((first.rows["at_ms"] - int(MONDAY.timestamp() * 1000)) // 20_000)
    assert len(first) / 100 == pytest.approx(500, rel=0.08)
    assert minutes[:5] == pytest.approx(10_000, rel=0.2)


def test_two_stretches_share_no_session() -> None:
    one, other = (next(events_from(SHAPE, 1, MONDAY + timedelta(hours=h), 50.0)).rows for h in (0, 3))
    assert not set(one["high"].tolist()) & set(other["high"].tolist()) - {0}


def test_customers_follow_the_stated_laws() -> None:
    """First orders of the first 20 of 120 days, watched for 100 days each, against the laws' own moments."""
    shape = replace(SHAPE, order_alpha_days=20.0)
    customers = Customers(shape, 0.0, 3_000.0, np.random.default_rng(5))
    parts = [customers.orders_until(day * 86_400.0) for day in range(1, 121)]
    who, at_s = (np.concatenate([getattr(part, name) for part in parts]) for name in ("customer", "at_s"))
    value = np.concatenate([part.value_cents for part in parts])
    order = np.lexsort((at_s, who))
    who, days = who[order], at_s[order] / 86_400.0
    first = np.flatnonzero(np.concatenate([[True], who[1:] != who[:-1]]))
    born = days[first][np.cumsum(np.isin(np.arange(len(who)), first)) - 1]
    watched = (born < 20) & (days - born < 100)
    repeats = np.bincount(who[watched])[: who[born < 20].max() + 1] - 1
    r, alpha = shape.order_r, shape.order_alpha_days
    assert len(repeats) > 40_000
    assert share(list(repeats == 0)) == pytest.approx((alpha / (alpha + 100)) ** r, abs=0.01)
    leaves = np.random.default_rng(6).beta(shape.leave_a, shape.leave_b, 4_000)[:, None]
    ages = np.arange(0.25, 100, 0.5)
    expected = (r * alpha**r / (alpha + leaves * ages) ** (r + 1)).mean(axis=0).sum() * 0.5
    assert repeats.mean() == pytest.approx(expected, rel=0.05)
    assert value.mean() == pytest.approx(shape.spend_p * shape.spend_gamma_cents / (shape.spend_q - 1), rel=0.03)
    assert len(who) / 120 == pytest.approx(3_000, rel=0.03), "first and repeat orders together keep the rate"


def test_the_orders_in_the_events_are_those_of_the_laws() -> None:
    """With fast customers, the share that has not come back within a day is the law's, and so is the mean value."""
    shape = replace(SHAPE, buying_share=0.3, rows_per_visit=8.0, order_alpha_days=0.5, order_r=0.5)
    orders: dict[str, Counter[str]] = defaultdict(Counter)
    until = MONDAY + timedelta(days=2)
    for batch in events_from(shape, 3, MONDAY, 1.5):
        for row in events(batch):
            if row["event_type"] == "purchase" and not row["price"].startswith("-"):
                orders[row["user_id"]][row["event_time"]] += round(float(row["price"]) * 100)
        if batch.rows["at_ms"][-1] > until.timestamp() * 1000:
            break
    early = [times for times in orders.values() if min(times) < "2020-02-04 00:00:00 UTC"]
    again = [sum(_seconds(t) - _seconds(min(times)) < 86_400 for t in times) > 1 for times in early]
    assert len(early) > 1_500
    assert 1 - share(again) == pytest.approx((0.5 / 1.5) ** 0.5, abs=0.04)
    mean_cents = np.mean([cents for times in orders.values() for cents in times.values()])
    assert mean_cents == pytest.approx(shape.spend_p * shape.spend_gamma_cents / (shape.spend_q - 1), rel=0.05)


def _seconds(text: str) -> float:
    return datetime.strptime(text + " +0000", "%Y-%m-%d %H:%M:%S UTC %z").timestamp()


def test_refunds_are_negative_purchases_of_what_was_bought() -> None:
    rows = all_rows(replace(SHAPE, refund_share=0.2), days=0.4)
    bought = {(r["user_id"], r["product_id"], r["price"]) for r in rows if r["event_type"] == "purchase"}
    refunds = [r for r in rows if r["price"].startswith("-")]
    assert len(refunds) / len(bought) == pytest.approx(0.2 / 1.2, abs=0.03)
    assert all(r["event_type"] == "purchase" for r in refunds)
    assert all((r["user_id"], r["product_id"], r["price"][1:]) in bought for r in refunds)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**63),
    start_s=st.integers(0, 4_000_000_000),
    rate_per_s=st.floats(0.5, 50.0),
    refund_share=st.floats(0.0, 1.0),
)
def test_every_value_is_json_with_nine_columns_and_money_has_two_decimals(
    seed: int, start_s: int, rate_per_s: float, refund_share: float
) -> None:
    shape = replace(SMALL, refund_share=refund_share)
    start_at = datetime.fromtimestamp(start_s, UTC)
    for batch in history(shape, seed, start_at, 0.005, rate_per_s):
        for key, value, row in zip(batch.keys(), batch.json_values(), events(batch), strict=True):
            event = json.loads(value)
            assert tuple(event) == FIELDS
            assert re.fullmatch(r"-?\d+\.\d\d", event["price"])
            assert re.fullmatch(
                r"([0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})?", event["user_session"]
            )
            assert {name: str(field) for name, field in event.items()} == row
            assert key == str(event["user_id"]).encode()


SMALL = replace(SHAPE, products=500, categories=20, brands=30)


def test_money_is_text_with_two_decimals() -> None:
    assert [money(c) for c in (0, 5, 524, -524, -5, 32_778)] == ["0.00", "0.05", "5.24", "-5.24", "-0.05", "327.78"]


def test_an_empty_batch_is_no_text(rows: list[Event]) -> None:
    batch = next(history(SMALL, 1, MONDAY, 0.01)).part(0, 0)
    assert (batch.to_csv(), batch.json_values(), batch.keys()) == (b"", [], [])


def test_files_hold_each_event_once_in_the_file_of_its_day(tmp_path) -> None:
    batches = list(history(SMALL, 1, MONDAY + timedelta(hours=12), 1.0, 0.5))
    files = write_csv_files(iter(batches), tmp_path, "day")
    assert [f.name for f in files] == ["2020-02-03.csv", "2020-02-04.csv"]
    assert sorted(tmp_path.iterdir()) == files
    lines = [f.read_bytes().splitlines(keepends=True) for f in files]
    assert all(part[0] == (",".join(FIELDS) + "\n").encode() for part in lines)
    assert b"".join(b"".join(part[1:]) for part in lines) == b"".join(batch.to_csv() for batch in batches)
    assert all(line.startswith(b"2020-02-03 ") for line in lines[0][1:])


NOW = datetime(2020, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def batch() -> EventBatch:
    return next(history(SMALL, 2, MONDAY, 0.1))


def test_copies_are_equal_and_nothing_else_changes(batch: EventBatch) -> None:
    good = records(batch)
    sent = with_copies(good, 0.1, seed=1)
    assert len(sent) / len(good) == pytest.approx(1.1, abs=0.02)
    assert list(dict.fromkeys(r.value for r in sent)) == list(dict.fromkeys(r.value for r in good))
    assert sent == with_copies(good, 0.1, seed=1) != with_copies(good, 0.1, seed=2)


def test_late_records_come_later_and_none_is_lost(batch: EventBatch) -> None:
    good = records(batch)
    sent = with_late(good, 0.1, seed=1)
    assert Counter(r.value for r in sent) == Counter(r.value for r in good)
    times = [json.loads(r.value)["event_time"] for r in sent]
    newest = accumulate(times, max)
    assert share([new > at for new, at in zip(newest, times, strict=True)]) == pytest.approx(0.1, abs=0.03)


def test_each_rule_is_broken_alone_and_with_others(batch: EventBatch) -> None:
    good = records(batch)
    sent = with_broken(good, 0.1, seed=1, now=NOW)
    bad = [r for r in sent if r.rules]
    assert {rule for r in bad for rule in r.rules} == set(RULES)
    assert {r.rules[0] for r in bad if len(r.rules) == 1} == set(RULES)
    assert any(len(r.rules) > 2 for r in bad)
    assert [r for r in sent if not r.rules] == [r for r, s in zip(good, sent, strict=True) if not s.rules]


def test_a_broken_record_says_what_is_wrong_with_it(batch: EventBatch) -> None:
    for record in with_broken(records(batch), 0.2, seed=3, now=NOW):
        assert record.rules == tuple(sorted(plainly_broken(record.value)))


def plainly_broken(value: bytes | None) -> set[str]:
    """The rules as a reader in a hurry would check them; times against `NOW`."""
    if not value:
        return {"empty_value"}
    if len(value) > 1_048_576:
        return {"too_large"}
    try:
        event = json.loads(value.decode())
    except UnicodeDecodeError:
        return {"invalid_utf8"}
    except ValueError:
        return {"not_json"}
    found = set()
    for name in ("event_time", "event_type", "product_id", "price", "user_id"):
        if event.get(name) in (None, ""):
            found.add(f"missing_{name}")
    for name in ("product_id", "category_id", "user_id"):
        if event.get(name) not in (None, "") and not re.fullmatch(r"\d{1,19}", str(event[name])):
            found.add(f"bad_{name}")
    price = event.get("price")
    if price and not re.fullmatch(r"-?\d+\.\d\d", price):
        found.add("not_a_number" if price in ("NaN", "Infinity", "-inf") else "bad_price")
    if len(event.get("brand") or "") > 255:
        found.add("too_long")
    if event.get("event_type") and event["event_type"] not in ("view", "cart", "remove_from_cart", "purchase"):
        found.add("unknown_event_type")
    if event.get("event_time"):
        for end, rule in (("24:00:00", "event_time_24_00"), ("23:59:60", "event_time_leap_second")):
            if event["event_time"][11:19] == end:
                return found | {rule}
        try:
            at_s = _seconds(event["event_time"])
        except ValueError:
            return found | {"bad_event_time"}
        if at_s < datetime(2015, 1, 1, tzinfo=UTC).timestamp():
            found.add("event_time_before_2015")
        if at_s > NOW.timestamp() + 300:
            found.add("event_time_in_future")
    return found


def test_a_catalogue_is_of_its_shape_and_not_of_the_stream() -> None:
    assert Writer(catalogue(SMALL)).csv_product == Writer(catalogue(SMALL)).csv_product
    assert Writer(catalogue(SMALL)).csv_product != Writer(catalogue(replace(SMALL, catalogue_seed=2))).csv_product
