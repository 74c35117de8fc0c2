"""What the stream tells of visits is right, or it is computed again from when to when it must be."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from silver.session_rules import Event, Row, State, advance, session_key
from silver.visits import Span, to_compute_again
from tests.session_events import EVENTS, MINUTE_US, RULES

IN_SESSION, NO_SESSION = (7, "s"), (7, "")
ONES = pytest.mark.parametrize("one", [IN_SESSION, NO_SESSION])


def visit(
    one: tuple[int, str], first: float, last: float, events: int, added: int = 0, replaces: tuple[str, ...] = ()
) -> Span:
    """Of minutes."""
    first_us, last_us = round(first * MINUTE_US), round(last * MINUTE_US)
    return Span(session_key(*one, first_us), first_us, last_us, events, added, replaces)


def came(first: float, last: float, events: int) -> Span:
    return Span("", round(first * MINUTE_US), round(last * MINUTE_US), events)


def again(one: tuple[int, str], came: Span | None, told: list[Span], known: list[Span]) -> tuple[float, float] | None:
    """In minutes."""
    span = to_compute_again(one, came, told, known, RULES.gap_us)
    return None if span is None else (span.first_us / MINUTE_US, span.last_us / MINUTE_US)


@ONES
def test_a_new_visit_is_right(one: tuple[int, str]) -> None:
    assert again(one, came(1, 5, 3), [visit(one, 1, 5, 3, 3)], []) is None


@ONES
def test_a_visit_that_goes_on_is_right(one: tuple[int, str]) -> None:
    old = visit(one, 1, 5, 3)
    assert again(one, came(7, 9, 2), [visit(one, 1, 9, 5, 2, (old.key,))], [old]) is None


@ONES
def test_a_visit_that_begins_earlier_than_was_known_is_right(one: tuple[int, str]) -> None:
    old = visit(one, 7, 9, 3)
    assert again(one, came(1, 1, 1), [visit(one, 1, 9, 4, 1, (old.key,))], [old]) is None


def test_several_visits_of_a_user_without_a_session_are_right() -> None:
    one, old = NO_SESSION, visit(NO_SESSION, 1, 5, 3)
    told = [visit(one, 1, 7, 4, 1, (old.key,)), visit(one, 100, 110, 2, 2)]
    assert again(one, came(7, 110, 3), told, [old]) is None


@ONES
def test_a_visit_that_the_stream_had_let_go_of_is_computed_again_over_its_whole_time(one: tuple[int, str]) -> None:
    old = visit(one, 1, 20, 3)
    assert again(one, came(25, 26, 2), [visit(one, 25, 26, 2, 2)], [old]) == (1, 26)
    assert again(one, came(-4, -3, 2), [visit(one, -4, -3, 2, 2)], [old]) == (-4, 20)


def test_in_a_session_a_visit_that_was_let_go_of_counts_however_long_ago_it_was() -> None:
    old = visit(IN_SESSION, 1, 5, 3)
    assert again(IN_SESSION, came(5000, 5001, 2), [visit(IN_SESSION, 5000, 5001, 2, 2)], [old]) == (1, 5001)


@ONES
def test_a_visit_of_which_the_stream_has_only_a_part_is_computed_again(one: tuple[int, str]) -> None:
    old, part = visit(one, 1, 20, 3), visit(one, 10, 20, 2)
    assert again(one, came(25, 25, 1), [visit(one, 10, 25, 3, 1, (part.key,))], [old]) == (1, 25)
    begun = visit(one, 1, 10, 2)
    assert again(one, came(25, 25, 1), [visit(one, 1, 25, 3, 1, (begun.key,))], [old]) == (1, 25)


@ONES
def test_a_visit_of_which_the_stream_has_more_than_the_table_is_computed_again(one: tuple[int, str]) -> None:
    old = visit(one, 1, 20, 3)
    assert again(one, came(25, 25, 1), [visit(one, 1, 25, 5, 1, (old.key,))], [old]) == (1, 25)


@ONES
def test_events_that_the_stream_did_not_see_are_computed_with_those_it_did(one: tuple[int, str]) -> None:
    old = visit(one, 1, 20, 3)
    assert again(one, came(-5, 25, 3), [visit(one, 1, 25, 4, 1, (old.key,))], [old]) == (-5, 25)
    assert again(one, came(-5, 25, 3), [visit(one, 24, 25, 2, 2)], []) == (-5, 25)


@ONES
def test_nothing_told_means_that_what_came_is_computed_with_the_visits_it_is_near(one: tuple[int, str]) -> None:
    assert again(one, came(3, 4, 2), [], []) == (3, 4)
    assert again(one, came(3, 4, 2), [], [visit(one, 1, 20, 3)]) == (1, 20)
    assert again(one, came(21, 22, 2), [], [visit(one, 1, 20, 3)]) == (1, 22)


def test_nothing_told_of_a_session_is_computed_from_its_begin() -> None:
    assert again(IN_SESSION, came(5000, 5001, 2), [], [visit(IN_SESSION, 1, 20, 3)]) == (1, 5001)


@ONES
def test_of_a_commit_that_is_not_whole_yet_nothing_is_right(one: tuple[int, str]) -> None:
    assert again(one, None, [visit(one, 3, 4, 2, 2)], []) == (3, 4)
    old = visit(one, 1, 20, 3)
    assert again(one, None, [visit(one, 1, 25, 4, 1, (old.key,))], [old]) == (1, 25)
    assert again(one, None, [visit(one, 25, 25, 1, 1)], [old]) == (1, 25)


@ONES
def test_more_told_than_came_is_computed_again(one: tuple[int, str]) -> None:
    old = visit(one, 1, 20, 3)
    assert again(one, came(21, 21, 1), [visit(one, 1, 25, 5, 2, (old.key,))], [old]) == (1, 25)


def test_views_of_a_session_of_which_the_stream_is_not_told_are_no_reason_to_compute_again() -> None:
    one, viewed, carted = IN_SESSION, visit(IN_SESSION, 1, 20, 0), visit(IN_SESSION, 1, 20, 3)
    for known in ([], [viewed], [carted]):
        assert again(one, came(25, 26, 0), [], known) is None
    assert again(one, came(25, 26, 1), [visit(one, 26, 26, 1, 1)], [viewed]) is None
    assert again(one, came(25, 26, 1), [], [viewed]) == (1, 26)
    assert again(one, came(25, 26, 0), [visit(one, 28, 28, 1, 1)], [viewed]) == (1, 28)


def test_two_known_visits_that_an_event_joins_are_right() -> None:
    one, early, late = NO_SESSION, visit(NO_SESSION, 1, 5, 3), visit(NO_SESSION, 40, 50, 2)
    joined = visit(one, 1, 50, 6, 1, (early.key, late.key))
    assert again(one, came(20, 20, 1), [joined], [early, late]) is None
    assert again(one, came(20, 20, 1), [joined], [late, early]) is None


def test_two_known_visits_of_which_the_stream_had_forgotten_one_are_computed_again_over_both() -> None:
    one, early, late = NO_SESSION, visit(NO_SESSION, 1, 5, 3), visit(NO_SESSION, 40, 50, 2)
    event = came(20, 20, 1)
    assert again(one, event, [visit(one, 1, 20, 4, 1, (early.key,))], [early, late]) == (1, 50)
    assert again(one, event, [visit(one, 20, 50, 3, 1, (late.key,))], [early, late]) == (1, 50)
    assert again(one, event, [visit(one, 20, 20, 1, 1)], [early, late]) == (1, 50)
    assert again(one, event, [], [early, late]) == (1, 50)


def test_without_a_session_a_known_visit_far_away_does_not_matter() -> None:
    one, before, after = NO_SESSION, visit(NO_SESSION, -200, -100, 9), visit(NO_SESSION, 500, 600, 9)
    old = visit(one, 1, 5, 3)
    known = [before, old, after]
    assert again(one, came(7, 9, 2), [visit(one, 1, 9, 5, 2, (old.key,))], known) is None
    assert again(one, came(100, 101, 2), [visit(one, 100, 101, 2, 2)], known) is None
    assert again(one, came(7, 9, 2), [visit(one, 7, 9, 2, 2)], known) == (1, 9)
    assert again(one, came(7, 9, 2), [], known) == (1, 9)
    assert again(one, came(100, 101, 2), [], known) == (100, 101)


@pytest.mark.parametrize(("first", "last"), [(-10, -5), (61, 62)])
def test_without_a_session_a_known_visit_as_far_as_the_gap_is_not_near(first: float, last: float) -> None:
    one, other = NO_SESSION, visit(NO_SESSION, first, last, 4)
    new, event = visit(one, 25, 31, 2, 2), came(25, 31, 2)
    assert again(one, event, [new], [other]) is None
    assert again(one, event, [], [other]) == (25, 31)


@pytest.mark.parametrize(("first", "last"), [(-10, -4.99), (60.99, 62)])
def test_without_a_session_a_known_visit_nearer_than_the_gap_is_near(first: float, last: float) -> None:
    one, other = NO_SESSION, visit(NO_SESSION, first, last, 4)
    new, event = visit(one, 25, 31, 2, 2), came(25, 31, 2)
    wanted = (min(first, 25), max(last, 31))
    assert again(one, event, [new], [other]) == wanted
    assert again(one, event, [], [other]) == wanted


class Arrival(NamedTuple):
    """:param begins: a new batch with it. :param forgets: before that batch, which of the visits that it has."""

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
    """Of one user and session, kept up with a stream as silver.sessions is."""

    def __init__(self, one: tuple[int, str]) -> None:
        self.one, self.rows = one, dict[str, Row]()
        self.spans_again: list[Span] = []
        self._state: State = ()
        self._events: list[Event] = []

    def take(self, batch: list[Arrival]) -> None:
        held = list(self._state)
        del held[batch[0].forgets]
        seen = [each.event for each in batch if each.is_seen]
        self._state, told = advance(*self.one, tuple(held), seen, RULES)
        self._events += [each.event for each in batch]
        times = [each.event.at_us for each in batch]
        known = [_span(row) for row in self.rows.values()]
        span = to_compute_again(
            self.one, Span("", min(times), max(times), len(times)), [_span(row) for row in told], known, RULES.gap_us
        )
        if span:
            self.spans_again.append(span)
            for old in known:
                if span.first_us <= old.first_us and old.last_us <= span.last_us:
                    del self.rows[old.key]
            inside = [each for each in self._events if span.first_us <= each.at_us <= span.last_us]
            _, told = advance(*self.one, (), inside, RULES)
        for row in told:
            for key in row["replaces"]:
                self.rows.pop(key, None)
            self.rows[row["session_key"]] = row

    def facts(self) -> list[Row]:
        return _facts(sorted(self.rows.values(), key=lambda row: row["started_us"]))


def followed(one: tuple[int, str], arrived: list[Arrival]) -> Table:
    table = Table(one)
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
@given(
    st.sampled_from([IN_SESSION, NO_SESSION]), arrivals(st.booleans(), st.sampled_from([NOTHING, ALL, OLDEST, NEWEST]))
)
def test_whatever_the_stream_forgets_and_does_not_see_the_table_has_all(
    one: tuple[int, str], arrived: list[Arrival]
) -> None:
    _, wanted = advance(*one, (), [each.event for each in arrived], RULES)
    assert followed(one, arrived).facts() == _facts(wanted)


@settings(deadline=None)
@given(st.sampled_from([IN_SESSION, NO_SESSION]), arrivals(st.just(True), st.just(NOTHING)))
def test_of_a_stream_that_sees_all_and_forgets_nothing_nothing_is_computed_again(
    one: tuple[int, str], arrived: list[Arrival]
) -> None:
    table = followed(one, arrived)
    assert table.spans_again == []
    _, wanted = advance(*one, (), [each.event for each in arrived], RULES)
    assert table.facts() == _facts(wanted)


def test_where_a_batch_parts_a_commit_equal_numbers_say_nothing() -> None:
    """What the stream was told may be other events than those that came: here minute 600 in place of minute 1."""
    came_at_1, told_of_600 = came(1, 1, 1), [visit(NO_SESSION, 600, 600, 1, 1)]
    span = to_compute_again(NO_SESSION, came_at_1, told_of_600, [], RULES.gap_us, is_whole=False)
    assert span is not None and (span.first_us, span.last_us) == (1 * MINUTE_US, 600 * MINUTE_US)
    assert to_compute_again(IN_SESSION, came(1, 2, 0), [], [], RULES.gap_us, is_whole=False) is not None
