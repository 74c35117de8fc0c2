"""Visits: what one person looks at, carts, takes out again and buys, row by row.

A visit is drafted without times: each row has a place between 0 and 1 in its visit. `timed` then walks each visit in
the order of these places.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ingest.catalogue import Catalogue
from ingest.rows import CART, PURCHASE, REMOVE, VIEW
from ingest.shape import StoreShape

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

ORDER_PLACE = 0.9


@dataclass(frozen=True)
class Draft:
    """Rows of many visits; `visit` says whose, `place` when in it. The rows of an order share one place."""

    visit: Ints
    place: Floats
    type: Ints
    product: Ints
    refund: Flags

    def take(self, rows: Ints | Flags) -> Draft:
        return Draft(self.visit[rows], self.place[rows], self.type[rows], self.product[rows], self.refund[rows])


def rows_of(kind: int, visit: Ints, place: Floats, product: Ints, refund: bool = False) -> Draft:
    return Draft(visit, place, np.full(len(visit), kind), product, np.full(len(visit), refund))


def joined(*drafts: Draft) -> Draft:
    return Draft(
        *(
            np.concatenate([getattr(d, name) for d in drafts])
            for name in ("visit", "place", "type", "product", "refund")
        )
    )


def browsing(shape: StoreShape, goods: Catalogue, rng: np.random.Generator, count: int) -> Draft:
    """The rows of `count` visits that buy nothing."""
    share = np.array([kind.share for kind in shape.visit_kinds])
    kind = rng.choice(len(share), count, p=share / share.sum())
    views, carts, removes = (
        _counts(rng, np.array([getattr(k, name) for k in shape.visit_kinds])[kind], shape.count_spread)
        for name in ("views", "carts", "removes")
    )
    return _walk(shape, goods, rng, views, carts, removes)


def buying(shape: StoreShape, goods: Catalogue, rng: np.random.Generator, value_cents: Ints) -> Draft:
    """The rows of visits that each place one order of about this value."""
    order = _order_lines(shape, goods, rng, value_cents)
    paid_for = goods.price_cents[order.product] > 0
    refunded = order.take(paid_for & (rng.random(len(paid_for)) < shape.refund_share))
    refund_place = ORDER_PLACE + (1 - ORDER_PLACE) * rng.random(len(refunded.visit))
    refunds = rows_of(PURCHASE, refunded.visit, refund_place, refunded.product, refund=True)
    bare = rng.random(len(value_cents)) < shape.bare_order_share
    seen = order.take(~bare[order.visit] & (rng.random(len(order.visit)) < shape.seen_share))
    by_cart = rng.random(len(seen.visit)) < shape.seen_by_cart_share
    before = rows_of(CART, seen.visit, ORDER_PLACE * rng.random(len(seen.visit)), seen.product)
    before.type[~by_cart] = VIEW
    viewing = ~bare & (rng.random(len(bare)) < shape.order_viewing_share)
    removing = ~bare & (rng.random(len(bare)) < shape.order_removing_share)
    views, carts, removes = (
        _counts(rng, np.where(has, mean, 0.0), shape.count_spread)
        for has, mean in ((viewing, shape.order_views), (~bare, shape.order_carts), (removing, shape.order_removes))
    )
    further = _walk(shape, goods, rng, views, carts, removes)
    return joined(before, further, order, refunds)


def timed(shape: StoreShape, draft: Draft, rng: np.random.Generator) -> tuple[Draft, Ints]:
    """The rows sorted by visit and place, and the milliseconds of each since its visit's first row."""
    order = np.argsort(draft.visit + np.minimum(draft.place, 0.999_999), kind="stable")
    rows = draft.take(order)
    count = len(rows.visit)
    if not count:
        return rows, np.empty(0, np.int64)
    gap_s = np.exp(np.log(shape.gap_median_s) + shape.gap_sigma * rng.standard_normal(count))
    gap_s = np.minimum(gap_s, shape.gap_longest_s)
    same_visit = np.concatenate([[False], rows.visit[1:] == rows.visit[:-1]])
    same_order = np.concatenate([[False], (rows.place[1:] == ORDER_PLACE) & (rows.place[:-1] == ORDER_PLACE)])
    gap_s[same_visit & same_order] = 0.0
    elapsed = np.cumsum(gap_s)
    starts = np.flatnonzero(~same_visit)
    which = np.cumsum(~same_visit) - 1
    ends = np.concatenate([starts[1:], [count]]) - 1
    length = elapsed[ends] - elapsed[starts]
    press = np.minimum(1.0, shape.visit_longest_s / np.maximum(length, 1.0))
    since_s = (elapsed - elapsed[starts][which]) * press[which]
    return rows, (since_s * 1000).astype(np.int64)


def _walk(
    shape: StoreShape, goods: Catalogue, rng: np.random.Generator, views: Ints, carts: Ints, removes: Ints
) -> Draft:
    """Views, carts of viewed and other products, removes of carted and other products; one entry per visit in."""
    view_visit, cart_visit, remove_visit = (np.repeat(np.arange(len(n)), n) for n in (views, carts, removes))
    viewed = rows_of(VIEW, view_visit, rng.random(len(view_visit)), goods.draw(goods.viewed, rng, len(view_visit)))
    carted = rows_of(CART, cart_visit, rng.random(len(cart_visit)), goods.draw(goods.carted, rng, len(cart_visit)))
    of_viewed = (rng.random(len(cart_visit)) < shape.cart_of_viewed_share) & (views[cart_visit] > 0)
    source = _nth_row(views, cart_visit, (rng.random(len(cart_visit)) * views[cart_visit]).astype(np.int64))
    _follow(carted, of_viewed, viewed, source)
    removed = rows_of(
        REMOVE, remove_visit, rng.random(len(remove_visit)), goods.draw(goods.carted, rng, len(remove_visit))
    )
    # The k-th remove of a visit can only take out its k-th cart row, so that no cart row is taken out twice.
    turn = np.arange(len(remove_visit)) - np.repeat(np.cumsum(removes) - removes, removes)
    of_carted = (rng.random(len(remove_visit)) < shape.removed_from_cart_share) & (turn < carts[remove_visit])
    _follow(removed, of_carted, carted, _nth_row(carts, remove_visit, turn))
    return joined(viewed, carted, removed)


def _follow(rows: Draft, chosen: Flags, sources: Draft, source: Ints) -> None:
    """Let the chosen rows be of their source's product and later than it in the visit. Changes `rows`."""
    source = source[chosen]
    rows.product[chosen] = sources.product[source]
    rows.place[chosen] = sources.place[source] + (1 - sources.place[source]) * rows.place[chosen]


def _nth_row(counts: Ints, visit: Ints, nth: Ints) -> Ints:
    return (np.cumsum(counts) - counts)[visit] + nth


def _counts(rng: np.random.Generator, mean: Floats, spread: float) -> Ints:
    """Numbers of rows with these means: none where the mean is 0, else at least one, most one or two, some many."""
    more = rng.poisson(rng.gamma(spread, np.maximum(mean - 1, 0) / spread))
    return np.where(mean > 0, 1 + more, 0)


def _order_lines(shape: StoreShape, goods: Catalogue, rng: np.random.Generator, value_cents: Ints) -> Draft:
    """Popular products while they fit into the order's value, then one at about the price that remains.

    No product comes twice in an order: its rows would be exact copies of each other.
    """
    tries = np.clip(value_cents // 250 + 4, 4, 150)
    visit = np.repeat(np.arange(len(value_cents)), tries)
    dear = rng.random(len(visit)) < shape.order_dear_share
    product = np.where(dear, goods.draw(goods.viewed, rng, len(visit)), goods.draw(goods.carted, rng, len(visit)))
    visit, product = _distinct(visit, product)
    price = goods.price_cents[product]
    total = np.cumsum(price)
    first = np.searchsorted(visit, np.arange(len(value_cents)))
    before = (total - price)[first] if len(first) else total
    fits = total - before[visit] <= value_cents[visit]
    spent = np.bincount(visit[fits], price[fits], len(value_cents)).astype(np.int64)
    closing = goods.priced_near(value_cents - spent, rng)
    worth_it = (value_cents - spent >= goods.price_cents[goods.by_price[0]]) | (spent == 0)
    visit = np.concatenate([visit[fits], np.flatnonzero(worth_it)])
    product = np.concatenate([product[fits], closing[worth_it]])
    visit, product = _distinct(visit, product)
    return rows_of(PURCHASE, visit, np.full(len(visit), ORDER_PLACE), product)


def _distinct(visit: Ints, product: Ints) -> tuple[Ints, Ints]:
    """The first row of each product in each visit, visits in order."""
    _, first = np.unique(visit * (1 << 32) + product, return_index=True)
    order = np.sort(first)
    order = order[np.argsort(visit[order], kind="stable")]
    return visit[order], product[order]
