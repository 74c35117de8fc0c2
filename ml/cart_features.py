"""Open carts as they were known when they opened: one row per opening, with features and what became of it.

A session's cart opens with the cart event that takes it from empty to holding something; that event is the cut-off.
Events are in the order of `silver/session_rules.py`: time, then views, carts, removes, purchases, then event_id.
Features know the customer's events up to the cut-off, itself included, and of products whole days before it.
"""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from lakehouse.schemas import AMOUNT
from ml.cart_columns import CATEGORIES, KEYS, NUMBERS, OUTCOME
from ml.cart_events import CART, ORDER, PURCHASE, REMOVE, VIEW, CartRules, bought_within, is_sale, told
from ml.cart_products import with_facts

_SESSION = ("user_id", "user_session")
_VISIT = (*_SESSION, "visit")
_SECOND_US, _DAY_US = 1_000_000, 86_400_000_000


def open_carts(
    events: DataFrame, facts: DataFrame, rules: CartRules, known_until: datetime, since_at: datetime | None = None
) -> DataFrame:
    """In: rows of silver.events, *all* of each user whose carts are wanted; `product_facts`, made of all users.
    Out: one row per cart opening: KEYS, OUTCOME, the features NUMBERS and CATEGORIES.

    `bought` is null where `outcome_at`, the end of the horizon, is after `known_until`. A null number: there was
    nothing to tell it from.

    :param known_until: the store clock, up to which `events` are complete.
    :param since_at: only carts that opened then or later; users without one are dropped before all else.
    """
    is_wanted = F.col("is_opening")
    if since_at is not None:
        is_wanted &= F.col("at_us") >= F.unix_micros(F.lit(since_at))
        recent = events.where((F.col("event_type") == "cart") & (F.col("event_at") >= F.lit(since_at)))
        events = events.join(recent.select("user_id").distinct(), "user_id", how="left_semi")
    known = _with_user(_with_cart(_with_visit(told(events), rules))).withColumn("is_bought", bought_within(rules))
    return _rows(with_facts(known.where(is_wanted), facts, rules), rules, known_until)


def _with_visit(events: DataFrame, rules: CartRules) -> DataFrame:
    """Adds `visit`, a number within user and session; that an event starts one; that it begins an order."""
    of_session = Window.partitionBy(*_SESSION).orderBy(*ORDER)
    so_far = of_session.rowsBetween(Window.unboundedPreceding, 0)
    before = of_session.rowsBetween(Window.unboundedPreceding, -1)
    previous_us = F.lag("at_us").over(of_session)
    is_apart = F.col("user_session").isNull() & (F.col("at_us") - previous_us >= rules.gap_us)
    earlier_sale_us = F.max(F.when(is_sale(), F.col("at_us"))).over(before)
    # The sales of one session and moment are one order, and come one after the other.
    is_order = is_sale() & (earlier_sale_us.isNull() | (earlier_sale_us < F.col("at_us")))
    marked = events.withColumns({"is_start": previous_us.isNull() | is_apart, "is_order": is_order})
    return marked.withColumn("visit", _count(F.col("is_start")).over(so_far))


def _with_cart(events: DataFrame) -> DataFrame:
    """Adds `is_opening`, and of the visit up to each event, itself included, the features of the session."""
    of_product = Window.partitionBy(*_VISIT, "product_id").orderBy(*ORDER)
    product_so_far = of_product.rowsBetween(Window.unboundedPreceding, 0)
    of_visit = Window.partitionBy(*_VISIT).orderBy(*ORDER)
    so_far = of_visit.rowsBetween(Window.unboundedPreceding, 0)
    rank = F.col("rank")
    takes = (rank == REMOVE) | ((rank == PURCHASE) & (F.col("price") >= 0))  # a refund takes nothing out
    step = F.when(rank == CART, 1).when(takes, -1).otherwise(0)
    # A sum held at zero in every step is the plain sum, with what that ever fell below zero given back.
    total = F.sum(step).over(product_so_far)
    quantities = events.withColumns(
        {
            "total": total,
            "is_first_of_product": F.row_number().over(of_product) == 1,
            "product_views": _count(rank == VIEW).over(product_so_far),
        }
    ).withColumn("quantity", F.col("total") - F.least(F.lit(0), F.min("total").over(product_so_far)))
    change = F.col("quantity") - F.coalesce(F.lag("quantity").over(of_product), F.lit(0))
    held = F.sum("change").over(so_far)
    started_us = F.min("at_us").over(so_far)
    return quantities.withColumn("change", change).withColumns(
        {
            "is_opening": (rank == CART) & (held == 1),
            "started_us": started_us,
            "session_s": (F.col("at_us") - started_us) / _SECOND_US,
            "idle_s": (F.col("at_us") - F.lag("at_us").over(of_visit)) / _SECOND_US,
            "session_views": _count(rank == VIEW).over(so_far),
            "session_carts": _count(rank == CART).over(so_far),
            "session_removes": _count(rank == REMOVE).over(so_far),
            "session_purchases": _count(is_sale()).over(so_far),
            "session_products": _count(F.col("is_first_of_product")).over(so_far),
        }
    )


def _with_user(events: DataFrame) -> DataFrame:
    """Adds the user's past: all before each event, in whatever session."""
    before = Window.partitionBy("user_id").orderBy(*ORDER).rowsBetween(Window.unboundedPreceding, -1)
    product_before = (
        Window.partitionBy("user_id", "product_id").orderBy(*ORDER).rowsBetween(Window.unboundedPreceding, -1)
    )
    last_sale_us = F.max(F.when(is_sale(), F.col("at_us"))).over(before)
    # The visit of the event itself is not past, but its start may be.
    visits = _count(F.col("is_start")).over(before) - F.when(F.col("is_start"), 0).otherwise(1)
    revenue = F.sum(F.when(is_sale(), F.col("price"))).over(before)
    return events.withColumns(
        {
            "user_orders": _or_zero(_count(F.col("is_order")).over(before)),
            "user_revenue": _or_zero(revenue).cast(AMOUNT),
            "user_visits": _or_zero(visits),
            "user_carts": _or_zero(_count(F.col("is_opening")).over(before)),
            "last_order_days": (F.col("at_us") - last_sale_us) / _DAY_US,
            "user_product_carts": _or_zero(_count(F.col("rank") == CART).over(product_before)),
            "user_product_units": _or_zero(_count(is_sale()).over(product_before)),
        }
    )


def _rows(carts: DataFrame, rules: CartRules, known_until: datetime) -> DataFrame:
    outcome_at = F.timestamp_micros(F.col("at_us") + rules.horizon_us)
    cut_off_at = F.timestamp_micros("at_us")
    return carts.withColumns(
        {
            "session_key": _session_key(),
            "cut_off_at": cut_off_at,
            "outcome_at": outcome_at,
            "bought": F.when(outcome_at <= F.lit(known_until), F.col("is_bought")),
            "hour": F.hour(cut_off_at),
            "weekday": F.weekday(cut_off_at),
        }
    ).select(*KEYS, *OUTCOME, *NUMBERS, *CATEGORIES)


def _session_key() -> Column:
    """The key of silver.sessions: see `silver/session_rules.py`."""
    user, start = F.col("user_id").cast("string"), F.col("started_us").cast("string")
    named = F.concat_ws("|", user, F.lit("session"), F.col("user_session"))
    unnamed = F.concat_ws("|", user, F.lit("start"), start)
    return F.left(F.sha2(F.when(F.col("user_session").isNull(), unnamed).otherwise(named), 256), F.lit(32))


def _count(condition: Column) -> Column:
    return F.sum(condition.cast("bigint"))


def _or_zero(number: Column) -> Column:
    return F.coalesce(number, F.lit(0))
