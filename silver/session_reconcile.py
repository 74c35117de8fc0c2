"""Which sessions of a stream are right, and which must be computed again? In plain Python, over times and counts.

The stream is soon there and does not know everything: it lets go of sessions, and never sees events behind its
watermark. So its rows are not believed, but checked: a row is right if it has, besides the batch's own events, as many
as the table's row of the same session. What does not fit is computed again, whole, from silver.events
(docs/decisions/0016-sessions.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from itertools import chain
from typing import NamedTuple

from lakehouse.session_key import session_key
from silver.days_of_ids import date_of
from silver.stretches import DAY_US

StreamKey = tuple[int, str]
"""(user_id, session_id): what the stream keeps a state by. The id is empty of a user's events without one."""


class Span(NamedTuple):
    """The time and the number of events of a session, or of what a batch has of one user and session id.

    :param session_key: empty of a batch's events.
    :param events: those that the stream takes.
    :param added: events of the batch in it.
    :param replaces: keys of sessions that have become part of it.
    """

    session_key: str
    first_us: int
    last_us: int
    events: int
    added: int = 0
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reconciled:
    """What a batch changes in the table, by user and session id.

    :param stored: the sessions as the table has them.
    :param recompute: from when to when to compute anew, where the stream is not right.
    :param placed: where the changed sessions are now; of those to compute again, once they are computed.
    """

    stored: Mapping[StreamKey, list[Span]]
    recompute: Mapping[StreamKey, Span]
    placed: Mapping[StreamKey, list[Span]]

    def with_computed(self, computed: Mapping[StreamKey, list[Span]]) -> Reconciled:
        again = {key: computed.get(key, []) for key in self.recompute}
        return Reconciled(self.stored, self.recompute, {**self.placed, **again})

    @cached_property
    def days(self) -> list[date]:
        """On which changed sessions begin, or began, in order."""
        spans = chain(*self._replaced.values(), *self.placed.values())
        return sorted(map(date_of, {span.first_us // DAY_US for span in spans}))

    @cached_property
    def gone_keys(self) -> list[str]:
        """Of sessions that are none any more: they became part of another, or begin at another time."""
        gone: set[str] = set()
        for key, olds in self._replaced.items():
            gone |= {old.session_key for old in olds} - {span.session_key for span in self.placed[key]}
        return sorted(gone)

    @property
    def changed_keys(self) -> list[str]:
        return [span.session_key for spans in self.placed.values() for span in spans]

    @cached_property
    def _replaced(self) -> dict[StreamKey, list[Span]]:
        """Sessions of the table in whose place others come."""
        return {key: self._replaced_by(key, spans) for key, spans in self.placed.items() if self.stored.get(key)}

    def _replaced_by(self, key: StreamKey, spans: Sequence[Span]) -> list[Span]:
        covered, whole = _covered_keys(spans), self.recompute.get(key)
        return [
            old
            for old in self.stored[key]
            if old.session_key in covered or (whole is not None and is_within(old, whole))
        ]


def reconcile(
    arrived: Mapping[StreamKey, Span],
    streamed: Mapping[StreamKey, list[Span]],
    stored: Mapping[StreamKey, list[Span]],
    gap_us: int,
    covers_commits: bool,
) -> Reconciled:
    """:param arrived: a batch's events. :param streamed: sessions as the stream has them.
    :param stored: sessions as the table has them. :param covers_commits: see `range_to_recompute`.
    """
    recompute: dict[StreamKey, Span] = {}
    placed: dict[StreamKey, list[Span]] = {}
    for key in {*arrived, *streamed}:
        its_streamed, its_stored = streamed.get(key, []), stored.get(key, [])
        again = range_to_recompute(key, arrived.get(key), its_streamed, its_stored, gap_us, covers_commits)
        if again:
            recompute[key] = again
        elif key[1]:
            placed[key] = [session_with(key, arrived[key], its_stored)]
        else:
            placed[key] = its_streamed
    return Reconciled(stored, recompute, placed)


def range_to_recompute(
    key: StreamKey,
    arrived: Span | None,
    streamed: Sequence[Span],
    stored: Sequence[Span],
    gap_us: int,
    covers_commits: bool = True,
) -> Span | None:
    """Is what the stream says of a user and session id right? Out: None if so, else from when to when to compute anew.

    :param arrived: their events in the batch. None: the stream has taken in what is not all there yet.
    :param streamed: sessions as the stream has them. :param stored: sessions as the table has them.
    :param covers_commits: the batch begins and ends between two commits. If not, what the stream took need not be what
        arrived, and equal numbers say nothing.
    """
    is_right = (
        covers_commits
        and arrived is not None
        and (
            is_views_alone(arrived, streamed)
            or (
                counts_match(arrived, streamed)
                and stored_sessions_match(streamed, stored)
                and nothing_left_over(key, streamed, stored, gap_us)
            )
        )
    )
    return None if is_right else _whole_range(key, arrived, streamed, stored, gap_us)


def is_views_alone(arrived: Span, streamed: Sequence[Span]) -> bool:
    """Views of a session with an id: the stream has no part in them."""
    return not arrived.events and not streamed


def counts_match(arrived: Span, streamed: Sequence[Span]) -> bool:
    """Has the stream taken as many events as arrived?"""
    return sum(span.added for span in streamed) == arrived.events


def stored_sessions_match(streamed: Sequence[Span], stored: Sequence[Span]) -> bool:
    """Had the stream as many events of each session as the table before the batch? If it let go of one, it had not."""
    return all(span.events - span.added == _stored_events(span, stored) for span in streamed)


def nothing_left_over(key: StreamKey, streamed: Sequence[Span], stored: Sequence[Span], gap_us: int) -> bool:
    """Is each session of the table that these would be one with part of them? With an id, that is any."""
    covered = _covered_keys(streamed)
    return all(
        old.session_key in covered
        for old in stored
        if key[1] or any(are_one_session(old, span, gap_us) for span in streamed)
    )


def are_one_session(span: Span, other: Span, gap_us: int) -> bool:
    """Of a user without a session id: is there no gap between them?"""
    return span.first_us < other.last_us + gap_us and other.first_us < span.last_us + gap_us


def is_within(span: Span, whole: Span) -> bool:
    return whole.first_us <= span.first_us and span.last_us <= whole.last_us


def session_with(key: StreamKey, arrived: Span, stored: Sequence[Span]) -> Span:
    """The session of a user and an id with this batch's events in it."""
    first_us, last_us = _ends([arrived, *stored])
    return Span(session_key(*key, first_us), first_us, last_us, arrived.events)


def newest_sessions(sessions: Iterable[tuple[StreamKey, Span]], most_events: int) -> dict[StreamKey, Span]:
    """In: sessions, the newest first. Out: the first of them, with so many events together, by user and session id."""
    newest: dict[StreamKey, Span] = {}
    for key, span in sessions:
        most_events -= span.events
        if most_events < 0:
            break
        first_us, last_us = _ends([span, newest.get(key, span)])
        newest[key] = span._replace(first_us=first_us, last_us=last_us)
    return newest


def _covered_keys(spans: Iterable[Span]) -> set[str]:
    return {key for span in spans for key in (span.session_key, *span.replaces)}


def _stored_events(span: Span, stored: Sequence[Span]) -> int:
    covered = _covered_keys([span])
    return sum(old.events for old in stored if old.session_key in covered)


def _whole_range(
    key: StreamKey, arrived: Span | None, streamed: Sequence[Span], stored: Sequence[Span], gap_us: int
) -> Span:
    """From the first to the last moment of what is new, and of the table's sessions that it would be one with."""
    new = Span("", *_ends([*streamed, *([arrived] if arrived else [])]), 0)
    near = [old for old in stored if key[1] or are_one_session(old, new, gap_us)]
    first_us, last_us = _ends([new, *near])
    return new._replace(first_us=first_us, last_us=last_us)


def _ends(spans: Sequence[Span]) -> tuple[int, int]:
    return min(span.first_us for span in spans), max(span.last_us for span in spans)
