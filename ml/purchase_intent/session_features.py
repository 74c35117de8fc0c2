"""Events in the visit that they are of: where it starts, where its cart opens, what had happened in it until then."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from ml.purchase_intent.events import CART, ORDER, PURCHASE, REMOVE, VIEW, CartRules, is_sale

_SESSION = ("user_id", "user_session")
_VISIT = (*_SESSION, "visit")
_SECOND_US = 1_000_000


def with_visit(events: DataFrame, rules: CartRules) -> DataFrame:
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
    return marked.withColumn("visit", count(F.col("is_start")).over(so_far))


def with_cart(events: DataFrame) -> DataFrame:
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
            "product_views": count(rank == VIEW).over(product_so_far),
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
            "session_views": count(rank == VIEW).over(so_far),
            "session_carts": count(rank == CART).over(so_far),
            "session_removes": count(rank == REMOVE).over(so_far),
            "session_purchases": count(is_sale()).over(so_far),
            "session_products": count(F.col("is_first_of_product")).over(so_far),
        }
    )


def count(condition: Column) -> Column:
    """How many rows: null of none, in a window."""
    return F.sum(condition.cast("bigint"))
