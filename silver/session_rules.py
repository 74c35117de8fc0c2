"""The rules of visits, in plain Python: (state, events) -> (state, rows).

A visit is a session of a user; where events have no session, those of a user that are less than half an hour apart.
Its cart is, per product, what was put in less what was removed or bought, never below zero at any step. It is abandoned
when it holds something and nothing has changed it for half an hour. Stream, batch and rebuild go by these rules alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

CART, REMOVE, PURCHASE = 0, 1, 2
"""Of changes at one moment this is the order."""

_VIEWED, _CARTED, _BOUGHT = 1, 2, 4
_RANKS = {"cart": CART, "remove_from_cart": REMOVE, "purchase": PURCHASE}


@dataclass(frozen=True)
class Rules:
    """:param gap_us: events of a user without a session that are so far apart, or further, are of two visits.
    :param abandon_us: a cart that nothing has changed for so long is abandoned.
    :param hold_us: so long after its last event a visit is held in memory.
    """

    gap_us: int
    abandon_us: int
    hold_us: int


class Event(NamedTuple):
    """An event of one user and session.

    :param price_cents: below zero of a purchase: a refund.
    :param brand: empty if it has none.
    """

    at_us: int
    event_id: str
    kind: str
    product_id: int
    price_cents: int
    brand: str


class Change(NamedTuple):
    """Of a cart, in the order in which changes apply."""

    at_us: int
    rank: int
    event_id: str
    product_id: int
    price_cents: int


class Item(NamedTuple):
    """:param price_cents: of one, when it was last put in."""

    product_id: int
    quantity: int
    price_cents: int


@dataclass(frozen=True)
class Visit:
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


State = tuple[Visit, ...]
"""The visits of one user and session: one. Of a user without a session: those that are held, in order of time."""

Row = dict[str, Any]


def advance(user_id: int, session: str, state: State, events: Iterable[Event], rules: Rules) -> tuple[State, list[Row]]:
    """Adds events, none of which the state has. Out: the new state, and a row for each visit that has changed.

    A row is a whole visit. Besides it says how many events are new in it (`added`), and the keys of the visits of the
    old state that are part of it (`replaces`): those without a session have their start in the key, and may become one.

    :param session: empty: the user's events without a session.
    """
    gap_us = None if session else rules.gap_us
    new = [_visit_of(run) for run in _runs(sorted(events), gap_us)]
    pieces = sorted([(visit, False) for visit in state] + [(visit, True) for visit in new], key=_start)
    visits: list[Visit] = []
    rows: list[Row] = []
    for together in _together(pieces, gap_us):
        visit = _joined([piece for piece, _ in together])
        visits.append(visit)
        added = sum(piece.events for piece, is_new in together if is_new)
        if added:
            replaces = [session_key(user_id, session, piece.started_us) for piece, is_new in together if not is_new]
            row = _row(user_id, session, visit, rules.abandon_us)
            rows.append(row | {"added": added, "replaces": replaces})
    return tuple(visits), rows


def still_held(state: State, until_us: int, rules: Rules) -> State:
    """Without the visits whose last event is longer ago than they are held."""
    return tuple(visit for visit in state if expires_us(visit, rules) > until_us)


def expires_us(visit: Visit, rules: Rules) -> int:
    return visit.ended_us + rules.hold_us


def session_key(user_id: int, session: str, started_us: int) -> str:
    """128 bits in hex. The session, which may have any characters, is last, and no session is unlike any."""
    named = f"{user_id}|session|{session}" if session else f"{user_id}|start|{started_us}"
    return hashlib.sha256(named.encode()).hexdigest()[:32]


@dataclass
class Abandoned:
    """:param count: how often the cart was abandoned before its last change. :param at_us: the newest time of these,
    and `items` what was in it then.
    """

    count: int = 0
    at_us: int | None = None
    items: tuple[Item, ...] = ()


def walk(changes: Iterable[Change], abandon_us: int) -> tuple[tuple[Item, ...], Abandoned]:
    """In: all changes of a cart, in order. Out: what is in it after the last one, by product; and when it was left."""
    quantities: dict[int, int] = {}
    prices: dict[int, int] = {}
    abandoned = Abandoned()
    before_us: int | None = None
    for change in changes:
        if quantities and before_us is not None and change.at_us - before_us >= abandon_us:
            abandoned = Abandoned(abandoned.count + 1, before_us + abandon_us, _items(quantities, prices))
        product = change.product_id
        if change.rank == CART:
            quantities[product] = quantities.get(product, 0) + 1
            prices[product] = change.price_cents
        elif product in quantities:
            quantities[product] -= 1
            if not quantities[product]:
                del quantities[product]
        before_us = change.at_us
    return _items(quantities, prices), abandoned


def value_cents(items: Iterable[Item]) -> int:
    return sum(item.quantity * item.price_cents for item in items)


def to_text(state: State) -> str:
    """For a state store. A reader of another version of the rules refuses it."""
    return json.dumps([1, [[*_counts(visit), visit.brands, visit.changes] for visit in state]], separators=(",", ":"))


def from_text(text: str) -> State:
    version, visits = json.loads(text)
    if version != 1:
        raise ValueError(f"A visit of version {version}, where 1 is known.")
    return tuple(_from_values(*visit) for visit in visits)


def _from_values(*values: Any) -> Visit:
    *counts, brands, changes = values
    return Visit(*counts, brands, tuple(Change(*change) for change in changes))  # type: ignore[call-arg]


def _counts(visit: Visit) -> tuple[int, int, int, int, int, int, int]:
    steps = (visit.views, visit.carts, visit.removes, visit.purchases)
    return (visit.started_us, visit.ended_us, *steps, visit.revenue_cents)


def _start(piece: tuple[Visit, bool]) -> int:
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


def _together(pieces: Sequence[tuple[Visit, bool]], gap_us: int | None) -> Iterator[list[tuple[Visit, bool]]]:
    """Visits in the order of their starts, those that are one visit in one list."""
    near: list[tuple[Visit, bool]] = []
    end_us = 0
    for piece in pieces:
        if near and gap_us is not None and piece[0].started_us - end_us >= gap_us:
            yield near
            near = []
        end_us = max(end_us, piece[0].ended_us) if near else piece[0].ended_us
        near.append(piece)
    if near:
        yield near


def _visit_of(run: Sequence[Event]) -> Visit:
    counts = dict.fromkeys(("view", *_RANKS), 0)
    brands: dict[str, int] = {}
    changes: list[Change] = []
    revenue_cents = 0
    for event in run:
        counts[event.kind] += 1
        is_sale = event.kind == "purchase" and event.price_cents > 0
        revenue_cents += event.price_cents if is_sale else 0
        step = _VIEWED if event.kind == "view" else _CARTED if event.kind == "cart" else _BOUGHT if is_sale else 0
        brands[event.brand] = brands.get(event.brand, 0) | step
        # A refund takes nothing out of the cart.
        if event.kind in _RANKS and not (event.kind == "purchase" and event.price_cents < 0):
            changes.append(Change(event.at_us, _RANKS[event.kind], event.event_id, event.product_id, event.price_cents))
    steps = (counts["view"], counts["cart"], counts["remove_from_cart"], counts["purchase"])
    return Visit(run[0].at_us, run[-1].at_us, *steps, revenue_cents, brands, tuple(sorted(changes)))


def _joined(pieces: Sequence[Visit]) -> Visit:
    if len(pieces) == 1:
        return pieces[0]
    starts, ends, views, carts, removes, purchases, cents = zip(*map(_counts, pieces), strict=True)
    brands: dict[str, int] = {}
    for piece in pieces:
        for brand, steps in piece.brands.items():
            brands[brand] = brands.get(brand, 0) | steps
    changes = tuple(sorted(change for piece in pieces for change in piece.changes))
    sums = (sum(views), sum(carts), sum(removes), sum(purchases), sum(cents))
    return Visit(min(starts), max(ends), *sums, brands, changes)


def _row(user_id: int, session: str, visit: Visit, abandon_us: int) -> Row:
    items, abandoned = walk(visit.changes, abandon_us)
    return {
        "session_key": session_key(user_id, session, visit.started_us),
        "user_id": user_id,
        "user_session": session or None,
        "started_us": visit.started_us,
        "ended_us": visit.ended_us,
        "events": visit.events,
        "views": visit.views,
        "carts": visit.carts,
        "removes": visit.removes,
        "purchases": visit.purchases,
        "revenue_cents": visit.revenue_cents,
        "cart": list(items),
        "cart_cents": value_cents(items),
        "last_cart_change_us": visit.changes[-1].at_us if visit.changes else None,
        "earlier_abandonments": abandoned.count,
        "earlier_abandoned_us": abandoned.at_us,
        "earlier_cart": list(abandoned.items),
        "earlier_cart_cents": value_cents(abandoned.items),
        "brands": [
            (brand, bool(steps & _VIEWED), bool(steps & _CARTED), bool(steps & _BOUGHT))
            for brand, steps in sorted(visit.brands.items())
        ],
    }


def _items(quantities: dict[int, int], prices: dict[int, int]) -> tuple[Item, ...]:
    return tuple(Item(product, quantities[product], prices[product]) for product in sorted(quantities))


def visits_of(keyed: Iterable[tuple[Any, ...]], rules: Rules) -> Iterator[Row]:
    """In: (user_id, session, *Event), all events of each user and session one after the other. Out: all rows."""
    for (user_id, session), events in groupby(keyed, key=lambda row: (row[0], row[1])):
        _, rows = advance(user_id, session, (), (Event(*row[2:]) for row in events), rules)
        yield from rows
