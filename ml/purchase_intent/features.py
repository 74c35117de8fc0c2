"""Open carts as they were known when they opened: one row per opening, with features and what became of it.

A session's cart opens with the cart event that takes it from empty to holding something; that event is the cut-off.
Events are in the order of time, then of their types (`lakehouse/event_contract.py`), then of event_id.
Features know the customer's events up to the cut-off, itself included, and of products whole days before it.
"""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from lakehouse import event_contract
from lakehouse.schemas import AMOUNT
from lakehouse.session_key import session_key_column
from ml.purchase_intent.columns import CATEGORIES, KEYS, NUMBERS, OUTCOME
from ml.purchase_intent.events import CART, ORDER, CartRules, bought_within, is_sale, told
from ml.purchase_intent.product_facts import with_facts
from ml.purchase_intent.session_features import count, with_cart, with_visit
from ml.purchase_intent.user_history import Past, with_past

_DAY_US = 86_400_000_000


def open_carts(
    events: DataFrame,
    facts: DataFrame,
    rules: CartRules,
    known_until: datetime,
    since_at: datetime | None = None,
    past: Past | None = None,
) -> DataFrame:
    """In: rows of silver.events, *all* of each user whose carts are wanted; `product_facts`, made of all users.
    Out: one row per cart opening: KEYS, OUTCOME, the features NUMBERS and CATEGORIES.

    `bought` is null where `outcome_at`, the end of the horizon, is after `known_until`. A null number: there was
    nothing to tell it from.

    :param known_until: the store clock, up to which `events` are complete.
    :param since_at: only carts that opened then or later; users without one are dropped before all else.
    :param past: what users had done before its `until_at`. Events are then `cart_past.events_since`, and carts that
        opened before that time are none of the result.
    """
    is_wanted = F.col("is_opening")
    if since_at is not None:
        is_wanted &= F.col("at_us") >= F.unix_micros(F.lit(since_at))
        recent = events.where((F.col("event_type") == event_contract.CART) & (F.col("event_at") >= F.lit(since_at)))
        events = events.join(recent.select("user_id").distinct(), "user_id", how="left_semi")
    if past is not None:
        is_wanted &= past.is_over()
    known = _with_user(with_cart(with_visit(told(events), rules)), past).withColumn("is_bought", bought_within(rules))
    carts = with_past(known.where(is_wanted), past)
    return _rows(with_facts(carts, facts, rules), rules, known_until)


def _with_user(events: DataFrame, past: Past | None) -> DataFrame:
    """Adds what the user had done before each event, in whatever session, and since the past, where there is one."""
    before = Window.partitionBy("user_id").orderBy(*ORDER).rowsBetween(Window.unboundedPreceding, -1)
    product_before = (
        Window.partitionBy("user_id", "product_id").orderBy(*ORDER).rowsBetween(Window.unboundedPreceding, -1)
    )
    is_counted = F.lit(True) if past is None else past.is_over()
    is_counted_sale = is_counted & is_sale()
    # The visit of the event itself is not past, but its start may be.
    visits = _or_zero(count(is_counted & F.col("is_start")).over(before)) - F.when(F.col("is_start"), 0).otherwise(1)
    return events.withColumns(
        {
            "user_orders": _or_zero(count(is_counted & F.col("is_order")).over(before)),
            "user_revenue": _or_zero(F.sum(F.when(is_counted_sale, F.col("price"))).over(before)).cast(AMOUNT),
            "user_visits": visits,
            "user_carts": _or_zero(count(is_counted & F.col("is_opening")).over(before)),
            "last_sale_us": F.max(F.when(is_counted_sale, F.col("at_us"))).over(before),
            "user_product_carts": _or_zero(count(is_counted & (F.col("rank") == CART)).over(product_before)),
            "user_product_units": _or_zero(count(is_counted_sale).over(product_before)),
        }
    )


def _rows(carts: DataFrame, rules: CartRules, known_until: datetime) -> DataFrame:
    outcome_at = F.timestamp_micros(F.col("at_us") + rules.horizon_us)
    cut_off_at = F.timestamp_micros("at_us")
    return carts.withColumns(
        {
            "session_key": session_key_column(F.col("started_us")),
            "cut_off_at": cut_off_at,
            "outcome_at": outcome_at,
            "bought": F.when(outcome_at <= F.lit(known_until), F.col("is_bought")),
            "hour": F.hour(cut_off_at),
            "weekday": F.weekday(cut_off_at),
            "last_order_days": (F.col("at_us") - F.col("last_sale_us")) / _DAY_US,
        }
    ).select(*KEYS, *OUTCOME, *NUMBERS, *CATEGORIES)


def _or_zero(number: Column) -> Column:
    return F.coalesce(number, F.lit(0))
