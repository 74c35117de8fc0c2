"""The rules of sessions, in plain Python: (state, events) -> (state, rows).

A session is what a user did under one session id; of events without an id, those of a user that are less than half an
hour apart. Stream, batch and rebuild go by these rules alone; for its cart see `cart_rules`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from lakehouse.event_contract import CART, EVENT_TYPES, PURCHASE, REMOVE, VIEW
from lakehouse.session_key import session_key
from silver.cart_rules import RANKS, Change, value_cents, walk

_VIEWED, _CARTED, _BOUGHT = 1, 2, 4


@dataclass(frozen=True)
class Rules:
    """:param gap_us: events of a user without a session id that are so far apart, or further, are of two sessions.
    :param abandon_us: a cart that nothing has changed for so long is abandoned.
    :param hold_us: so long after its last event a session is held in memory.
    """

    gap_us: int
    abandon_us: int
    hold_us: int


class Event(NamedTuple):
    """An event of one user and session id.

    :param price_cents: below zero of a purchase: a refund.
    :param brand: empty if it has none.
    """

    at_us: int
    event_id: str
    kind: str
    product_id: int
    price_cents: int
    brand: str


@dataclass(frozen=True)
class Session:
    """All that a row can be made of, and that more events can be added to, in any order.

    :param brands: which steps were taken with products of each brand, as a sum of bits.
    """

    started_us: int
    ended_us: int
    views: int = 0
    carts: int = 0
    removes: int = 0
    purchases: int = 0
    revenue_cents: int = 0
    brands: dict[str, int] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()

    @property
    def events(self) -> int:
        return self.views + self.carts + self.removes + self.purchases


State = tuple[Session, ...]
"""The session of one user and session id. Of a user without an id: the sessions that are held, in order of time."""

Row = dict[str, Any]


def advance(
    user_id: int, session_id: str, state: State, events: Iterable[Event], rules: Rules
) -> tuple[State, list[Row]]:
    """Adds events, none of which the state has. Out: the new state, and a row for each session that has changed.

    A row is a whole session. Besides it says how many events are new in it (`added`), and the keys of the sessions of
    the old state that are part of it (`replaces`): those without an id have their start in the key, and may become one.

    :param session_id: empty: the user's events without one.
    """
    gap_us = None if session_id else rules.gap_us
    new = [_session_of(run) for run in _runs(sorted(events), gap_us)]
    pieces = sorted([(session, False) for session in state] + [(session, True) for session in new], key=_start)
    sessions: list[Session] = []
    rows: list[Row] = []
    for together in _together(pieces, gap_us):
        session = _joined([piece for piece, _ in together])
        sessions.append(session)
        added = sum(piece.events for piece, is_new in together if is_new)
        if added:
            replaces = [session_key(user_id, session_id, piece.started_us) for piece, is_new in together if not is_new]
            row = _row(user_id, session_id, session, rules.abandon_us)
            rows.append(row | {"added": added, "replaces": replaces})
    return tuple(sessions), rows


def still_held(state: State, until_us: int, rules: Rules) -> State:
    """Without the sessions whose last event is longer ago than they are held."""
    return tuple(session for session in state if expires_us(session, rules) > until_us)


def expires_us(session: Session, rules: Rules) -> int:
    return session.ended_us + rules.hold_us


def to_text(state: State) -> str:
    """For a state store. A reader of another version of the rules refuses it."""
    return json.dumps(
        [1, [[*_counts(session), session.brands, session.changes] for session in state]], separators=(",", ":")
    )


def from_text(text: str) -> State:
    version, sessions = json.loads(text)
    if version != 1:
        raise ValueError(f"A session of version {version}, where 1 is known.")
    return tuple(_from_values(*session) for session in sessions)


def _from_values(*values: Any) -> Session:
    *counts, brands, changes = values
    return Session(*counts, brands, tuple(Change(*change) for change in changes))  # type: ignore[call-arg]


def _counts(session: Session) -> tuple[int, int, int, int, int, int, int]:
    steps = (session.views, session.carts, session.removes, session.purchases)
    return (session.started_us, session.ended_us, *steps, session.revenue_cents)


def _start(piece: tuple[Session, bool]) -> int:
    return piece[0].started_us


def _runs(events: Sequence[Event], gap_us: int | None) -> Iterator[list[Event]]:
    """Sorted events, parted where there is a gap."""
    run: list[Event] = []
    for event in events:
        if run and gap_us is not None and event.at_us - run[-1].at_us >= gap_us:
            yield run
            run = []
        run.append(event)
    if run:
        yield run


def _together(pieces: Sequence[tuple[Session, bool]], gap_us: int | None) -> Iterator[list[tuple[Session, bool]]]:
    """Sessions in the order of their starts, those that are one session in one list."""
    near: list[tuple[Session, bool]] = []
    end_us = 0
    for piece in pieces:
        if near and gap_us is not None and piece[0].started_us - end_us >= gap_us:
            yield near
            near = []
        end_us = max(end_us, piece[0].ended_us) if near else piece[0].ended_us
        near.append(piece)
    if near:
        yield near


def _session_of(run: Sequence[Event]) -> Session:
    counts = dict.fromkeys(EVENT_TYPES, 0)
    brands: dict[str, int] = {}
    changes: list[Change] = []
    revenue_cents = 0
    for event in run:
        counts[event.kind] += 1
        is_sale = event.kind == PURCHASE and event.price_cents > 0
        revenue_cents += event.price_cents if is_sale else 0
        step = _VIEWED if event.kind == VIEW else _CARTED if event.kind == CART else _BOUGHT if is_sale else 0
        brands[event.brand] = brands.get(event.brand, 0) | step
        # A refund takes nothing out of the cart.
        if event.kind in RANKS and not (event.kind == PURCHASE and event.price_cents < 0):
            changes.append(Change(event.at_us, RANKS[event.kind], event.event_id, event.product_id, event.price_cents))
    steps = (counts[VIEW], counts[CART], counts[REMOVE], counts[PURCHASE])
    return Session(run[0].at_us, run[-1].at_us, *steps, revenue_cents, brands, tuple(sorted(changes)))


def _joined(pieces: Sequence[Session]) -> Session:
    if len(pieces) == 1:
        return pieces[0]
    starts, ends, views, carts, removes, purchases, cents = zip(*map(_counts, pieces), strict=True)
    brands: dict[str, int] = {}
    for piece in pieces:
        for brand, steps in piece.brands.items():
            brands[brand] = brands.get(brand, 0) | steps
    changes = tuple(sorted(change for piece in pieces for change in piece.changes))
    sums = (sum(views), sum(carts), sum(removes), sum(purchases), sum(cents))
    return Session(min(starts), max(ends), *sums, brands, changes)


def _row(user_id: int, session_id: str, session: Session, abandon_us: int) -> Row:
    items, abandoned = walk(session.changes, abandon_us)
    return {
        "session_key": session_key(user_id, session_id, session.started_us),
        "user_id": user_id,
        "user_session": session_id or None,
        "started_us": session.started_us,
        "ended_us": session.ended_us,
        "events": session.events,
        "views": session.views,
        "carts": session.carts,
        "removes": session.removes,
        "purchases": session.purchases,
        "revenue_cents": session.revenue_cents,
        "cart": list(items),
        "cart_cents": value_cents(items),
        "last_cart_change_us": session.changes[-1].at_us if session.changes else None,
        "earlier_abandonments": abandoned.count,
        "earlier_abandoned_us": abandoned.at_us,
        "earlier_cart": list(abandoned.items),
        "earlier_cart_cents": value_cents(abandoned.items),
        "brands": [
            (brand, bool(steps & _VIEWED), bool(steps & _CARTED), bool(steps & _BOUGHT))
            for brand, steps in sorted(session.brands.items())
        ],
    }


def session_rows(keyed: Iterable[tuple[Any, ...]], rules: Rules) -> Iterator[Row]:
    """In: (user_id, session_id, *Event), all events of each user and session id one after the other. Out: all rows."""
    for (user_id, session_id), events in groupby(keyed, key=lambda row: (row[0], row[1])):
        _, rows = advance(user_id, session_id, (), (Event(*row[2:]) for row in events), rules)
        yield from rows
