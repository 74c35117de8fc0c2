"""What the synthetic store is like: every law of the event stream and its parameters, in one frozen object.

A customer's laws are stated so that a model of customer lifetime value has a truth to find:

- orders: BG/NBD. The first order makes the customer. While alive, gaps between orders are exponential with a rate of
  its own, drawn once from Gamma(`order_r`, rate `order_alpha_days`) orders a day. After each order but the first the
  customer leaves for good with a probability of its own, drawn once from Beta(`leave_a`, `leave_b`).
- order value: gamma-gamma. A customer's own nu is drawn once from Gamma(`spend_q`, rate `spend_gamma_cents`); each
  order is worth Gamma(`spend_p`, rate nu) cents, so its mean is spend_p * spend_gamma_cents / (spend_q - 1). An order
  is filled with products up to that value, and the last product's price is the nearest there is to what remains.

Time in these laws is store time, which runs as fast as the store is busy (see `week.py`); it is never more than half
a day from the clock. Everything else (what a visit looks at, carts, removes) is a law of visits, not of customers.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VisitKind:
    """A kind of visit that buys nothing.

    :param share: of the visits that buy nothing; shares are scaled to add up to one.
    :param views: mean number of rows of each type before copies; 0 is none at all, else at least one.
    """

    share: float
    views: float
    carts: float
    removes: float


@dataclass(frozen=True)
class StoreShape:
    """Shares are of 1, money is in cents, lengths of time carry their unit.

    :param catalogue_seed: makes the products; apart from the stream's seed, so that all stretches sell the same goods.
    :param rows_per_day: mean rows of a history, copies included.
    :param rows_per_visit: mean rows of a visit, copies included; turns rows per day into visits.
    :param buying_share: of visits that place an order. An order is one visit's.
    :param order_dear_share: of the products of an order: as dear as what is viewed, not as what is carted.
    :param bare_order_share: of orders whose products were all never viewed or carted in their visit.
    :param seen_share: of the products of the other orders: viewed or carted before.
    :param order_views: mean further views of a buying visit that is not bare, where it has any (and so removes).
    :param order_carts: the same; every buying visit that is not bare has some.
    :param new_browser_share: of visits that buy nothing: by somebody new. The others are by earlier visitors.
    :param customer_share: of visits that buy nothing: by somebody who has bought.
    :param resumed_share: of later visits of a browser that go on with the session of its first visit.
    :param shared_session_share: of visits in the middle of which the session passes to another user.
    :param removed_from_cart_share: of removes in visits with carts: of a product carted in this visit before.
    :param copied_share: of rows of the type that are sent more than once. Copies are equal in all columns.
    :param more_copies_share: of the copied rows that have one more copy, and so on, up to four rows in all.
    :param refund_share: of purchase rows that are followed by a refund: the same with a negative price.
    :param blank_session_share: of rows of the type without a session.
    :param gap_median_s: time between two rows of a visit, lognormal with `gap_sigma`, at most `gap_longest_s`.
    :param visit_longest_s: visits that would last longer are pressed into this.
    """

    catalogue_seed: int = 1
    products: int = 54_571
    categories: int = 525
    brands: int = 273
    zipf_offset: float = 20.0
    cheap_tilt: float = 0.6
    brandless_share: float = 0.423
    category_code_share: float = 0.017
    free_share: float = 0.005

    rows_per_day: float = 136_137.0
    rows_per_visit: float = 4.41
    visit_kinds: tuple[VisitKind, ...] = (
        VisitKind(0.756, 1.43, 0.0, 0.0),
        VisitKind(0.093, 2.75, 3.10, 0.0),
        VisitKind(0.056, 8.60, 9.10, 7.10),
        VisitKind(0.028, 0.0, 3.40, 0.0),
        VisitKind(0.012, 0.0, 6.50, 5.50),
        VisitKind(0.009, 3.75, 0.0, 5.00),
        VisitKind(0.010, 0.0, 0.0, 4.90),
    )
    count_spread: float = 0.6
    cart_of_viewed_share: float = 0.25
    removed_from_cart_share: float = 0.8

    buying_share: float = 0.0328
    order_dear_share: float = 0.14
    bare_order_share: float = 0.12
    seen_share: float = 0.62
    seen_by_cart_share: float = 0.85
    order_views: float = 7.4
    order_carts: float = 3.3
    order_removes: float = 4.6
    order_viewing_share: float = 0.85
    order_removing_share: float = 0.6

    order_r: float = 0.25
    order_alpha_days: float = 50.0
    leave_a: float = 0.8
    leave_b: float = 2.4
    spend_p: float = 2.5
    spend_q: float = 6.0
    spend_gamma_cents: float = 7_650.0

    new_browser_share: float = 0.35
    customer_share: float = 0.06
    resumed_share: float = 0.05
    shared_session_share: float = 0.00013

    copied_share: tuple[float, float, float, float] = (0.0, 0.02, 0.318, 0.0026)
    more_copies_share: float = 0.03
    refund_share: float = 0.0001
    blank_session_share: tuple[float, float, float, float] = (0.00001, 0.0007, 0.00005, 0.00005)

    gap_median_s: float = 17.0
    gap_sigma: float = 1.9
    gap_longest_s: float = 1_200.0
    visit_longest_s: float = 3_600.0
