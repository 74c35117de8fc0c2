"""Rows of gold's topics, with a default for all that a test is not about: a store of 2019, replayed in 2026."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from lakehouse.topics import Row

AT = datetime(2019, 10, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def sale(product_id: int, at: datetime, revenue: str = "2.62", **facts: Any) -> Row:
    """Of one product in the minute of this time, which is that of its newest purchase."""
    start = at.replace(second=0, microsecond=0)
    window = {"window_start_at": start, "window_end_at": start + MINUTE, "window_start_on": start.date()}
    sums = {"product_id": product_id, "units": 1, "revenue": Decimal(revenue), "buyers": 1, "refund_units": 0}
    rest = {"refund_amount": Decimal(0), "last_purchase_at": at, "revision": 1, "updated_at": NOW}
    return window | sums | rest | facts


def product(product_id: int, brand: str | None, **facts: Any) -> Row:
    shown = {"category_id": 2**53 + 1, "category_code": None, "brand": brand, "price": Decimal("2.62")}
    seen = {"last_event_at": AT, "last_event_id": "e", "revision": 1, "updated_at": NOW}
    return {"product_id": product_id} | shown | seen | facts


def customer(user_id: int, revision: int, **facts: Any) -> Row:
    defaults = {"orders": 1, "units": revision, "revenue": Decimal(revision), "refund_units": 0, "refunds": Decimal(0)}
    times = {"first_purchase_at": AT, "last_purchase_at": AT}
    return {"user_id": user_id} | defaults | times | facts | {"revision": revision, "updated_at": NOW}


def order(order_id: str, at: datetime, product_id: int, **facts: Any) -> Row:
    """With one line."""
    line = {"event_id": "a", "product_id": product_id, "price": Decimal("2.50"), "extras": '{"coupon":"B"}'}
    sums = {"units": 1, "revenue": Decimal("2.50"), "refund_units": 0, "refund_amount": Decimal(0)}
    placed = {"order_id": order_id, "ordered_at": at, "ordered_on": at.date(), "user_id": 1, "user_session": None}
    made = {"total": Decimal("2.50"), "revision": 1, "updated_at": NOW}
    return placed | {"lines": [line]} | sums | made | facts


def cart(session_key: str, abandoned_at: datetime, value: str = "5.24", **facts: Any) -> Row:
    """Two pieces of one product."""
    session = {"session_key": session_key, "started_on": AT.date(), "started_at": AT, "user_id": 1}
    items = [{"product_id": 1, "quantity": 2, "price": Decimal(value) / 2}]
    left = {"user_session": None, "items": items, "cart_value": Decimal(value), "abandonments": 1}
    rest = {"abandoned_at": abandoned_at, "recovered_at": None, "revision": 1, "updated_at": NOW}
    return session | left | rest | facts


def funnel(at: datetime, sessions: int, viewed: int, carted: int, bought: int) -> Row:
    """Of a whole day."""
    counts = {"visitors": sessions, "sessions": sessions, "viewed": viewed, "carted": carted, "bought": bought}
    rest = {"conversion": bought / sessions, "revision": 1, "updated_at": NOW}
    return {"event_on": at.date(), "scope": "day", "brand": ""} | counts | rest
