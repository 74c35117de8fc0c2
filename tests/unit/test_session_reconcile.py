"""What the stream says of sessions is right, or it is computed again from when to when it must be."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lakehouse.session_key import session_key
from silver.session_reconcile import (
    Span,
    counts_match,
    is_views_alone,
    is_within,
    newest_sessions,
    nothing_left_over,
    range_to_recompute,
    reconcile,
    session_with,
    stored_sessions_match,
)
from silver.session_rules import Event, Row, State, advance
from tests.session_events import EVENTS, MINUTE_US, RULES

WITH_ID, NO_ID = (7, "s"), (7, "")
BOTH = pytest.mark.parametrize("key", [WITH_ID, NO_ID])


def session(
    key: tuple[int, str], first: float, last: float, events: int, added: int = 0, replaces: tuple[str, ...] = ()
) -> Span:
    """Of minutes."""
    first_us, last_us = round(first * MINUTE_US), round(last * MINUTE_US)
    return Span(session_key(*key, first_us), first_us, last_us, events, added, replaces)


def arrived(first: float, last: float, events: int) -> Span:
    return Span("", round(first * MINUTE_US), round(last * MINUTE_US), events)


def again(
    key: tuple[int, str], arrived: Span | None, streamed: list[Span], stored: list[Span]
) -> tuple[float, float] | None:
    """In minutes."""
    span = range_to_recompute(key, arrived, streamed, stored, RULES.gap_us)
    return None if span is None else (span.first_us / MINUTE_US, span.last_us / MINUTE_US)


@BOTH
def test_a_new_session_is_right(key: tuple[int, str]) -> None:
    assert again(key, arrived(1, 5, 3), [session(key, 1, 5, 3, 3)], []) is None


@BOTH
def test_a_session_that_goes_on_is_right(key: tuple[int, str]) -> None:
    old = session(key, 1, 5, 3)
    assert again(key, arrived(7, 9, 2), [session(key, 1, 9, 5, 2, (old.session_key,))], [old]) is None


@BOTH
def test_a_session_that_begins_earlier_than_was_known_is_right(key: tuple[int, str]) -> None:
    old = session(key, 7, 9, 3)
    assert again(key, arrived(1, 1, 1), [session(key, 1, 9, 4, 1, (old.session_key,))], [old]) is None


def test_several_sessions_of_a_user_without_a_session_id_are_right() -> None:
    key, old = NO_ID, session(NO_ID, 1, 5, 3)
    streamed = [session(key, 1, 7, 4, 1, (old.session_key,)), session(key, 100, 110, 2, 2)]
    assert again(key, arrived(7, 110, 3), streamed, [old]) is None


@BOTH
def test_a_session_that_the_stream_had_let_go_of_is_computed_again_over_its_whole_time(key: tuple[int, str]) -> None:
    old = session(key, 1, 20, 3)
    assert again(key, arrived(25, 26, 2), [session(key, 25, 26, 2, 2)], [old]) == (1, 26)
    assert again(key, arrived(-4, -3, 2), [session(key, -4, -3, 2, 2)], [old]) == (-4, 20)


def test_with_an_id_a_session_that_was_let_go_of_counts_however_long_ago_it_was() -> None:
    old = session(WITH_ID, 1, 5, 3)
    assert again(WITH_ID, arrived(5000, 5001, 2), [session(WITH_ID, 5000, 5001, 2, 2)], [old]) == (1, 5001)


@BOTH
def test_a_session_of_which_the_stream_has_only_a_part_is_computed_again(key: tuple[int, str]) -> None:
    old, part = session(key, 1, 20, 3), session(key, 10, 20, 2)
    assert again(key, arrived(25, 25, 1), [session(key, 10, 25, 3, 1, (part.session_key,))], [old]) == (1, 25)
    begun = session(key, 1, 10, 2)
    assert again(key, arrived(25, 25, 1), [session(key, 1, 25, 3, 1, (begun.session_key,))], [old]) == (1, 25)


@BOTH
def test_a_session_of_which_the_stream_has_more_than_the_table_is_computed_again(key: tuple[int, str]) -> None:
    old = session(key, 1, 20, 3)
    assert again(key, arrived(25, 25, 1), [session(key, 1, 25, 5, 1, (old.session_key,))], [old]) == (1, 25)


@BOTH
def test_events_that_the_stream_did_not_see_are_computed_with_those_it_did(key: tuple[int, str]) -> None:
    old = session(key, 1, 20, 3)
    assert again(key, arrived(-5, 25, 3), [session(key, 1, 25, 4, 1, (old.session_key,))], [old]) == (-5, 25)
    assert again(key, arrived(-5, 25, 3), [session(key, 24, 25, 2, 2)], []) == (-5, 25)


@BOTH
def test_nothing_streamed_means_that_what_arrived_is_computed_with_the_sessions_it_is_near(
    key: tuple[int, str],
) -> None:
    assert again(key, arrived(3, 4, 2), [], []) == (3, 4)
    assert again(key, arrived(3, 4, 2), [], [session(key, 1, 20, 3)]) == (1, 20)
    assert again(key, arrived(21, 22, 2), [], [session(key, 1, 20, 3)]) == (1, 22)


def test_nothing_streamed_of_a_session_is_computed_from_its_begin() -> None:
    assert again(WITH_ID, arrived(5000, 5001, 2), [], [session(WITH_ID, 1, 20, 3)]) == (1, 5001)


@BOTH
def test_of_a_commit_that_is_not_whole_yet_nothing_is_right(key: tuple[int, str]) -> None:
    assert again(key, None, [session(key, 3, 4, 2, 2)], []) == (3, 4)
    old = session(key, 1, 20, 3)
    assert again(key, None, [session(key, 1, 25, 4, 1, (old.session_key,))], [old]) == (1, 25)
    assert again(key, None, [session(key, 25, 25, 1, 1)], [old]) == (1, 25)


@BOTH
def test_more_streamed_than_arrived_is_computed_again(key: tuple[int, str]) -> None:
    old = session(key, 1, 20, 3)
    assert again(key, arrived(21, 21, 1), [session(key, 1, 25, 5, 2, (old.session_key,))], [old]) == (1, 25)


def test_views_of_a_session_of_which_the_stream_takes_nothing_are_no_reason_to_compute_again() -> None:
    key, viewed, carted = WITH_ID, session(WITH_ID, 1, 20, 0), session(WITH_ID, 1, 20, 3)
    for stored in ([], [viewed], [carted]):
        assert again(key, arrived(25, 26, 0), [], stored) is None
    assert again(key, arrived(25, 26, 1), [session(key, 26, 26, 1, 1)], [viewed]) is None
    assert again(key, arrived(25, 26, 1), [], [viewed]) == (1, 26)
    assert again(key, arrived(25, 26, 0), [session(key, 28, 28, 1, 1)], [viewed]) == (1, 28)


def test_two_known_sessions_that_an_event_joins_are_right() -> None:
    key, early, late = NO_ID, session(NO_ID, 1, 5, 3), session(NO_ID, 40, 50, 2)
    joined = session(key, 1, 50, 6, 1, (early.session_key, late.session_key))
    assert again(key, arrived(20, 20, 1), [joined], [early, late]) is None
    assert again(key, arrived(20, 20, 1), [joined], [late, early]) is None


def test_two_known_sessions_of_which_the_stream_had_forgotten_one_are_computed_again_over_both() -> None:
    key, early, late = NO_ID, session(NO_ID, 1, 5, 3), session(NO_ID, 40, 50, 2)
    event = arrived(20, 20, 1)
    assert again(key, event, [session(key, 1, 20, 4, 1, (early.session_key,))], [early, late]) == (1, 50)
    assert again(key, event, [session(key, 20, 50, 3, 1, (late.session_key,))], [early, late]) == (1, 50)
    assert again(key, event, [session(key, 20, 20, 1, 1)], [early, late]) == (1, 50)
    assert again(key, event, [], [early, late]) == (1, 50)


def test_without_a_session_id_a_known_session_far_away_does_not_matter() -> None:
    key, before, after = NO_ID, session(NO_ID, -200, -100, 9), session(NO_ID, 500, 600, 9)
    old = session(key, 1, 5, 3)
    stored = [before, old, after]
    assert again(key, arrived(7, 9, 2), [session(key, 1, 9, 5, 2, (old.session_key,))], stored) is None
    assert again(key, arrived(100, 101, 2), [session(key, 100, 101, 2, 2)], stored) is None
    assert again(key, arrived(7, 9, 2), [session(key, 7, 9, 2, 2)], stored) == (1, 9)
    assert again(key, arrived(7, 9, 2), [], stored) == (1, 9)
    assert again(key, arrived(100, 101, 2), [], stored) == (100, 101)


@pytest.mark.parametrize(("first", "last"), [(-10, -5), (61, 62)])
def test_without_a_session_id_a_known_session_as_far_as_the_gap_is_not_near(first: float, last: float) -> None:
    key, other = NO_ID, session(NO_ID, first, last, 4)
    new, event = session(key, 25, 31, 2, 2), arrived(25, 31, 2)
    assert again(key, event, [new], [other]) is None
    assert again(key, event, [], [other]) == (25, 31)


@pytest.mark.parametrize(("first", "last"), [(-10, -4.99), (60.99, 62)])
def test_without_a_session_id_a_known_session_nearer_than_the_gap_is_near(first: float, last: float) -> None:
    key, other = NO_ID, session(NO_ID, first, last, 4)
    new, event = session(key, 25, 31, 2, 2), arrived(25, 31, 2)
    wanted = (min(first, 25), max(last, 31))
    assert again(key, event, [new], [other]) == wanted
    assert again(key, event, [], [other]) == wanted


class Arrival(NamedTuple):
    """:param begins: a new batch with it. :param forgets: before that batch, which of the sessions that it has."""

    event: Event
    is_seen: bool
    begins: bool
    forgets: slice


NOTHING, ALL, OLDEST, NEWEST = slice(0, 0), slice(None), slice(0, 1), slice(-1, None)


def arrivals(seen: st.SearchStrategy[bool], forgets: st.SearchStrategy[slice]) -> st.SearchStrategy[list[Arrival]]:
    """Events in any order, in batches."""
    parts = st.lists(st.tuples(seen, st.booleans(), forgets), min_size=25, max_size=25)
    return st.builds(
        lambda events, parts: [Arrival(each, *part) for each, part in zip(events, parts, strict=False)], EVENTS, parts
    )


class Table:
    """Of one user and session id, kept up with a stream as silver.sessions is."""

    def __init__(self, key: tuple[int, str]) -> None:
        self.key, self.rows = key, dict[str, Row]()
        self.spans_again: list[Span] = []
        self._state: State = ()
        self._events: list[Event] = []

    def take(self, batch: list[Arrival]) -> None:
        held = list(self._state)
        del held[batch[0].forgets]
        seen = [each.event for each in batch if each.is_seen]
        self._state, streamed = advance(*self.key, tuple(held), seen, RULES)
        self._events += [each.event for each in batch]
        times = [each.event.at_us for each in batch]
        stored = [_span(row) for row in self.rows.values()]
        span = range_to_recompute(
            self.key,
            Span("", min(times), max(times), len(times)),
            [_span(row) for row in streamed],
            stored,
            RULES.gap_us,
        )
        if span:
            self.spans_again.append(span)
            for old in stored:
                if span.first_us <= old.first_us and old.last_us <= span.last_us:
                    del self.rows[old.session_key]
            inside = [each for each in self._events if span.first_us <= each.at_us <= span.last_us]
            _, streamed = advance(*self.key, (), inside, RULES)
        for row in streamed:
            for key in row["replaces"]:
                self.rows.pop(key, None)
            self.rows[row["session_key"]] = row

    def facts(self) -> list[Row]:
        return _facts(sorted(self.rows.values(), key=lambda row: row["started_us"]))


def followed(key: tuple[int, str], arrived: list[Arrival]) -> Table:
    table = Table(key)
    batch: list[Arrival] = []
    for each in arrived:
        if batch and each.begins:
            table.take(batch)
            batch = []
        batch.append(each)
    if batch:
        table.take(batch)
    return table


def _span(row: Row) -> Span:
    names = ("session_key", "started_us", "ended_us", "events", "added")
    return Span(*(row[name] for name in names))._replace(replaces=tuple(row["replaces"]))


def _facts(rows: list[Row]) -> list[Row]:
    return [{name: value for name, value in row.items() if name not in ("added", "replaces")} for row in rows]


@settings(deadline=None)
@given(st.sampled_from([WITH_ID, NO_ID]), arrivals(st.booleans(), st.sampled_from([NOTHING, ALL, OLDEST, NEWEST])))
def test_whatever_the_stream_forgets_and_does_not_see_the_table_has_all(
    key: tuple[int, str], arrived: list[Arrival]
) -> None:
    _, wanted = advance(*key, (), [each.event for each in arrived], RULES)
    assert followed(key, arrived).facts() == _facts(wanted)


@settings(deadline=None)
@given(st.sampled_from([WITH_ID, NO_ID]), arrivals(st.just(True), st.just(NOTHING)))
def test_of_a_stream_that_sees_all_and_forgets_nothing_nothing_is_computed_again(
    key: tuple[int, str], arrived: list[Arrival]
) -> None:
    table = followed(key, arrived)
    assert table.spans_again == []
    _, wanted = advance(*key, (), [each.event for each in arrived], RULES)
    assert table.facts() == _facts(wanted)


def test_where_a_batch_parts_a_commit_equal_numbers_say_nothing() -> None:
    """What the stream took may be other events than those that arrived: here minute 600 in place of minute 1."""
    arrived_at_1, streamed_of_600 = arrived(1, 1, 1), [session(NO_ID, 600, 600, 1, 1)]
    span = range_to_recompute(NO_ID, arrived_at_1, streamed_of_600, [], RULES.gap_us, covers_commits=False)
    assert span is not None and (span.first_us, span.last_us) == (1 * MINUTE_US, 600 * MINUTE_US)
    assert range_to_recompute(WITH_ID, arrived(1, 2, 0), [], [], RULES.gap_us, covers_commits=False) is not None


def test_views_alone_are_those_of_a_batch_of_which_the_stream_takes_nothing_and_says_nothing() -> None:
    assert is_views_alone(arrived(1, 2, 0), [])
    assert not is_views_alone(arrived(1, 2, 1), [])
    assert not is_views_alone(arrived(1, 2, 0), [session(WITH_ID, 1, 2, 1, 1)])


@pytest.mark.parametrize(
    ("events", "added", "match"), [(3, (3,), True), (3, (1, 2), True), (3, (2,), False), (3, (), False)]
)
def test_counts_match_where_the_stream_took_as_many_events_as_arrived(
    events: int, added: tuple[int, ...], match: bool
) -> None:
    streamed = [session(NO_ID, 100 * place, 100 * place, 9, each) for place, each in enumerate(added)]
    assert counts_match(arrived(1, 5, events), streamed) == match


def test_stored_sessions_match_where_the_stream_had_their_events_before_the_batch() -> None:
    early, late = session(NO_ID, 1, 5, 3), session(NO_ID, 40, 50, 2)
    keys = (early.session_key, late.session_key)
    assert stored_sessions_match([], [early])
    assert stored_sessions_match([session(NO_ID, 60, 60, 1, 1)], [early, late])
    assert stored_sessions_match([session(NO_ID, 1, 50, 6, 1, keys)], [early, late])
    # The key is the same: it need not be among those that are replaced.
    assert stored_sessions_match([session(NO_ID, 1, 6, 4, 1)], [early, late])
    assert not stored_sessions_match([session(NO_ID, 1, 50, 6, 1, keys)], [early])
    assert not stored_sessions_match([session(NO_ID, 1, 6, 3, 1)], [early])
    assert not stored_sessions_match([session(NO_ID, 1, 6, 4, 1), session(NO_ID, 40, 60, 2, 1)], [early, late])


def test_with_an_id_each_stored_session_must_be_part_of_what_is_streamed() -> None:
    old = session(WITH_ID, 1, 5, 3)._replace(session_key="another")
    new = session(WITH_ID, 5000, 5001, 2, 2)
    assert nothing_left_over(WITH_ID, [new], [], RULES.gap_us)
    assert not nothing_left_over(WITH_ID, [new], [old], RULES.gap_us)
    assert nothing_left_over(WITH_ID, [new._replace(replaces=("another",))], [old], RULES.gap_us)


def test_without_an_id_only_a_stored_session_that_is_near_can_be_left_over() -> None:
    near, far, new = session(NO_ID, 1, 5, 3), session(NO_ID, -200, -100, 3), session(NO_ID, 20, 21, 2, 2)
    assert nothing_left_over(NO_ID, [new], [far], RULES.gap_us)
    assert not nothing_left_over(NO_ID, [new], [far, near], RULES.gap_us)
    assert nothing_left_over(NO_ID, [], [far, near], RULES.gap_us)


def test_within_a_range_are_sessions_up_to_both_of_its_ends() -> None:
    whole = session(NO_ID, 1, 9, 0)
    assert is_within(whole, whole) and is_within(session(NO_ID, 2, 8, 0), whole)
    assert not is_within(session(NO_ID, 0.99, 9, 0), whole) and not is_within(session(NO_ID, 1, 9.01, 0), whole)


def test_a_session_with_a_batch_reaches_over_both() -> None:
    old = session(WITH_ID, 10, 20, 3)
    assert session_with(WITH_ID, arrived(25, 26, 2), [old]) == session(WITH_ID, 10, 26, 2)
    assert session_with(WITH_ID, arrived(1, 2, 0), [old]) == session(WITH_ID, 1, 20, 0)
    assert session_with(WITH_ID, arrived(1, 2, 0), []) == session(WITH_ID, 1, 2, 0)


def test_the_newest_sessions_are_held_up_to_a_number_of_events_those_of_one_user_together() -> None:
    newest = [
        (NO_ID, session(NO_ID, 40, 50, 2)),
        (WITH_ID, session(WITH_ID, 30, 45, 3)),
        (NO_ID, session(NO_ID, 1, 5, 4)),
    ]
    assert list(newest_sessions(newest, 4)) == [NO_ID]
    assert list(newest_sessions(newest, 5)) == [NO_ID, WITH_ID]
    held = newest_sessions(newest, 9)
    assert (held[NO_ID].first_us, held[NO_ID].last_us) == (1 * MINUTE_US, 50 * MINUTE_US)
    assert newest_sessions([], 9) == {}


OTHER, DAY, FIRST_DAY = (8, "t"), 24 * 60, date(1970, 1, 1)


def test_a_batch_is_parted_into_what_is_right_and_what_is_to_be_computed_again() -> None:
    old, lost = session(WITH_ID, 1, 5, 3), session(OTHER, 1, 5, 3)
    batch = {WITH_ID: arrived(7, 9, 2), OTHER: arrived(7, 9, 2), NO_ID: arrived(7, 8, 1)}
    streamed = {
        WITH_ID: [session(WITH_ID, 1, 9, 5, 2, (old.session_key,))],
        OTHER: [session(OTHER, 7, 9, 2, 2)],
        NO_ID: [session(NO_ID, 7, 8, 1, 1)],
    }
    stored = {WITH_ID: [old], OTHER: [lost]}
    found = reconcile(batch, streamed, stored, RULES.gap_us, covers_commits=True)
    assert found.recompute == {OTHER: Span("", 1 * MINUTE_US, 9 * MINUTE_US, 0)}
    assert found.placed == {WITH_ID: [session(WITH_ID, 1, 9, 2)], NO_ID: streamed[NO_ID]}
    parted = reconcile(batch, streamed, stored, RULES.gap_us, covers_commits=False)
    assert (parted.recompute.keys(), parted.placed) == (batch.keys(), {})
    computed = {OTHER: [session(OTHER, 1, 9, 5, 5)]}
    assert found.with_computed(computed).placed == found.placed | computed
    assert found.with_computed({}).placed == found.placed | {OTHER: []}


def test_days_change_on_which_a_session_began_or_begins() -> None:
    old = session(NO_ID, DAY, DAY + 5, 3)
    new = session(NO_ID, DAY - 10, DAY + 5, 4, 1, (old.session_key,))
    found = reconcile({NO_ID: arrived(DAY - 10, DAY - 10, 1)}, {NO_ID: [new]}, {NO_ID: [old]}, RULES.gap_us, True)
    assert (found.recompute, found.days) == ({}, [FIRST_DAY, date(1970, 1, 2)])
    assert found.gone_keys == [old.session_key]
    assert found.changed_keys == [new.session_key]


def test_a_session_that_stays_as_it_was_or_has_the_same_key_is_not_gone() -> None:
    old, far = session(NO_ID, 1, 5, 3), session(NO_ID, 5 * DAY, 5 * DAY, 3)
    new = session(NO_ID, 1, 9, 5, 2, (old.session_key,))
    found = reconcile({NO_ID: arrived(7, 9, 2)}, {NO_ID: [new]}, {NO_ID: [old, far]}, RULES.gap_us, True)
    assert (found.days, found.gone_keys, found.changed_keys) == ([FIRST_DAY], [], [old.session_key])


def test_of_a_range_that_was_computed_again_all_that_lay_within_and_is_no_more_is_gone() -> None:
    early, late, far = session(NO_ID, 1, 5, 3), session(NO_ID, 40, 50, 2), session(NO_ID, 5 * DAY, 5 * DAY, 3)
    found = reconcile({NO_ID: arrived(20, 20, 1)}, {}, {NO_ID: [early, late, far]}, RULES.gap_us, True)
    joined = session(NO_ID, 1, 50, 6, 6)
    found = found.with_computed({NO_ID: [joined]})
    assert (found.gone_keys, found.changed_keys) == ([late.session_key], [joined.session_key])
    assert found.days == [FIRST_DAY]
