"""The bounded memory: whatever it says it covers, it has in full."""

from __future__ import annotations

import random

from lakehouse.recent import Recent


def test_without_a_horizon_it_covers_all_times() -> None:
    recent: Recent[str] = Recent(10, limit=5)
    assert recent.covers(-(10**15)) and recent.covers(0)


def test_a_value_is_found_by_any_time_of_its_bucket_and_by_no_other() -> None:
    recent: Recent[str] = Recent(10, limit=5)
    recent.add(17, "a", "value")
    assert recent.at(10) == recent.at(19) == {"a": "value"}
    assert recent.at(9) == recent.at(20) == {}


def test_a_time_before_1970_has_a_bucket_that_begins_before_it() -> None:
    assert Recent[None](10, limit=5).bucket(-1) == -10


def test_what_is_older_than_the_horizon_is_not_held() -> None:
    recent: Recent[str] = Recent(10, limit=5)
    recent.begin_at(25)
    recent.add(19, "old", "")
    recent.add(20, "in the bucket of the horizon", "")
    assert not recent.covers(19) and recent.covers(20)
    assert recent.at(19) == {} and len(recent.at(20)) == 1


def test_above_its_limit_it_gives_up_the_oldest_and_the_horizon_rises_past_them() -> None:
    recent: Recent[None] = Recent(10, limit=10)
    for number in range(11):
        recent.add(number * 10, str(number), None)
    assert recent.horizon_us == 20
    assert not recent.covers(19)
    assert [bool(recent.at(number * 10)) for number in range(11)] == [False, False, *[True] * 9]


def test_the_same_id_again_takes_no_more_room() -> None:
    recent: Recent[int] = Recent(10, limit=2)
    for value in range(100):
        recent.add(5, "one id", value)
    assert recent.covers(5) and recent.at(5) == {"one id": 99}


def test_one_bucket_larger_than_the_limit_is_given_up_whole() -> None:
    recent: Recent[None] = Recent(10, limit=3)
    for number in range(4):
        recent.add(5, str(number), None)
    assert not recent.covers(5) and recent.covers(10) and recent.at(5) == {}


def test_in_any_order_it_stays_bounded_its_horizon_never_falls_and_what_it_covers_is_complete() -> None:
    generator = random.Random(20191001)
    recent: Recent[None] = Recent(10, limit=50)
    recent.begin_at(100)
    everything: dict[int, set[str]] = {}
    horizon_us = 100
    for number in range(3000):
        # Newer and newer on the whole, and now and then very late.
        at_us = number + generator.choice([0, -5, -40, -400])
        recent.add(at_us, str(number), None)
        everything.setdefault(recent.bucket(at_us), set()).add(str(number))
        assert recent.horizon_us is not None and recent.horizon_us >= horizon_us
        horizon_us = recent.horizon_us
        if number % 50 == 0:
            held = {start_us: set(recent.at(start_us)) for start_us in everything}
            assert sum(map(len, held.values())) <= 50
            assert all(held[start_us] == everything[start_us] for start_us in everything if recent.covers(start_us))
    assert horizon_us > 2000
