"""The rules of carts, in plain Python: changes of a cart in order -> what it holds, and when it was abandoned.

A cart is, per product, what was put in less what was removed or bought, never below zero at any step. It is abandoned
when it holds something and nothing has changed it for half an hour (a setting).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from lakehouse.event_contract import CART, PURCHASE, REMOVE

RANKS = {kind: rank for rank, kind in enumerate((CART, REMOVE, PURCHASE))}
"""Of changes at one moment this is the order."""

_CART_RANK = RANKS[CART]


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
        if change.rank == _CART_RANK:
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


def _items(quantities: dict[int, int], prices: dict[int, int]) -> tuple[Item, ...]:
    return tuple(Item(product, quantities[product], prices[product]) for product in sorted(quantities))
