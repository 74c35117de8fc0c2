"""Open carts calculated apart: plain loops over all events, one cart at a time."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from lakehouse.session_key import session_key

KINDS = ("view", "cart", "remove_from_cart", "purchase")


class CartEvent(NamedTuple):
    event_id: str
    event_at: datetime
    event_type: str
    product_id: int
    category_id: int | None
    price: Decimal
    user_id: int
    user_session: str | None


def in_order(events: list[CartEvent]) -> list[CartEvent]:
    return sorted(events, key=lambda e: (e.event_at, KINDS.index(e.event_type), e.event_id))


def sessions(events: list[CartEvent], gap_s: int) -> dict[str, int]:
    """The session of each event: an event_id -> the place of its first event in the order."""
    newest: dict[Any, tuple[datetime, int]] = {}
    found = {}
    for place, e in enumerate(in_order(events)):
        key = (e.user_id, e.user_session)
        at, session = newest.get(key, (e.event_at, place))
        if e.user_session is None and (e.event_at - at).total_seconds() >= gap_s:
            session = place
        newest[key] = (e.event_at, session)
        found[e.event_id] = session
    return found


def openings(events: list[CartEvent], gap_s: int) -> list[CartEvent]:
    session_of, held, opened = sessions(events, gap_s), {}, []
    for e in in_order(events):
        cart: Counter[int] = held.setdefault(session_of[e.event_id], Counter())
        if e.event_type == "cart":
            opened += [] if cart.total() else [e]
            cart[e.product_id] += 1
        elif (e.event_type == "remove_from_cart" or (e.event_type == "purchase" and e.price >= 0)) and cart[
            e.product_id
        ]:
            cart[e.product_id] -= 1
    return opened


def is_bought(cart: CartEvent, events: list[CartEvent], horizon_s: int) -> bool:
    until = cart.event_at + timedelta(seconds=horizon_s)
    mine = [e for e in events if is_sale(e) and (e.user_id, e.product_id) == (cart.user_id, cart.product_id)]
    return any(cart.event_at <= e.event_at <= until for e in mine)


def is_sale(e: CartEvent) -> bool:
    return e.event_type == "purchase" and e.price > 0


def carts_by_hand(
    events: list[CartEvent], known_until: datetime, gap_s: int, horizon_s: int, prior_carts: int
) -> dict[str, dict[str, Any]]:
    """Rows of `open_carts` by event_id."""
    all_, session_of, opened = in_order(events), sessions(events, gap_s), openings(events, gap_s)
    outcomes = {e.event_id: is_bought(e, events, horizon_s) for e in events if e.event_type == "cart"}

    def row_of(cart: CartEvent) -> dict[str, Any]:
        return _row(cart, all_, session_of, opened, outcomes, known_until, horizon_s, prior_carts)

    return {cart.event_id: row_of(cart) for cart in opened}


def _row(
    cart: CartEvent,
    all_: list[CartEvent],
    session_of: dict[str, int],
    opened: list[CartEvent],
    outcomes: dict[str, bool],
    known_until: datetime,
    horizon_s: int,
    prior_carts: int,
) -> dict[str, Any]:
    before = all_[: all_.index(cart)]
    session = [e for e in [*before, cart] if session_of[e.event_id] == session_of[cart.event_id]]
    past = [e for e in before if e.user_id == cart.user_id]
    sales = [e for e in past if is_sale(e)]
    same = [e for e in past if e.product_id == cart.product_id]
    midnight = cart.event_at.replace(hour=0, minute=0, second=0, microsecond=0)
    over = [e for e in all_ if e.event_type == "cart" and e.event_at + timedelta(seconds=horizon_s) < midnight]
    of_product = [e for e in over if e.product_id == cart.product_id]
    of_category = [e for e in over if e.category_id == cart.category_id]

    def rate(carts: list[CartEvent]) -> float | None:
        base = sum(outcomes[e.event_id] for e in over) / len(over) if over else None
        bought = sum(outcomes[e.event_id] for e in carts)
        return None if base is None else (bought + base * prior_carts) / (len(carts) + prior_carts)

    def against(carts: list[CartEvent]) -> float | None:
        logs = [math.log(e.price) for e in carts if e.price > 0]
        return math.log(cart.price) - sum(logs) / len(logs) if logs and cart.price > 0 else None

    def count(events: list[CartEvent], kind: str) -> int:
        return sum(e.event_type == kind for e in events)

    start = session[0].event_at
    start_us = int(start.timestamp()) * 1_000_000
    outcome_at = cart.event_at + timedelta(seconds=horizon_s)
    earlier = {session_of[e.event_id] for e in past} - {session_of[cart.event_id]}
    return {
        "event_id": cart.event_id,
        "session_key": session_key(cart.user_id, cart.user_session or "", start_us),
        "user_id": cart.user_id,
        "user_session": cart.user_session,
        "product_id": cart.product_id,
        "cut_off_at": cart.event_at,
        "outcome_at": outcome_at,
        "bought": outcomes[cart.event_id] if outcome_at <= known_until else None,
        "session_s": (cart.event_at - start).total_seconds(),
        "idle_s": (cart.event_at - session[-2].event_at).total_seconds() if len(session) > 1 else None,
        "session_views": count(session, "view"),
        "session_carts": count(session, "cart"),
        "session_removes": count(session, "remove_from_cart"),
        "session_purchases": sum(map(is_sale, session)),
        "session_products": len({e.product_id for e in session}),
        "product_views": sum(e.event_type == "view" and e.product_id == cart.product_id for e in session),
        "user_orders": len({(e.user_session, e.event_at) for e in sales}),
        "user_revenue": sum((e.price for e in sales), Decimal(0)),
        "user_visits": len(earlier),
        "user_carts": len([e for e in opened if e in past]),
        "last_order_days": (cart.event_at - sales[-1].event_at) / timedelta(days=1) if sales else None,
        "user_product_carts": count(same, "cart"),
        "user_product_units": sum(map(is_sale, same)),
        "price": cart.price,
        "product_carts": len(of_product),
        "product_rate": rate(of_product),
        "category_rate": rate(of_category),
        "log_price_to_product": against(of_product),
        "log_price_to_category": against(of_category),
        "log_price_to_catalogue": against(over),
        "hour": cart.event_at.astimezone(UTC).hour,
        "weekday": cart.event_at.weekday(),
    }
