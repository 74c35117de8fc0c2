"""Carts that were left: as facts of sessions, of the store clock, and of what the customer bought later."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from gold.orders import lines_of
from lakehouse.schemas import AMOUNT
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_ABANDONED_CARTS


def abandoned_carts(sessions: DataFrame, orders: DataFrame, now: Column, settings: Settings) -> DataFrame:
    """In: rows of silver.sessions; rows of gold.orders, *all* of the time after the sessions' abandonments; the store
    clock for each. Out: one row per session whose cart was abandoned by then, the facts of gold.abandoned_carts.

    The cart is abandoned when nothing has changed it for `cart_abandon_s`; then the row shows what it holds, else what
    it held when that was last so. A refund recovers nothing.
    """
    left = left_carts(sessions, now, settings)
    recovered = (
        left.join(bought(orders), recovers(settings), how="inner")
        .groupBy("session_key")
        .agg(F.min("bought_at").alias("recovered_at"))
    )
    return left.join(recovered, "session_key", how="left").select(*GOLD_ABANDONED_CARTS.facts)


def bought(orders: DataFrame) -> DataFrame:
    """In: rows of gold.orders. Out: one row per thing bought, refunds left out: what `recovers` is asked of."""
    lines = lines_of(orders).where(F.col("price") >= 0)
    return lines.select(F.col("user_id").alias("buyer"), "product_id", F.col("event_at").alias("bought_at"))


def recovers(settings: Settings) -> Column:
    """Of an abandoned cart and a thing that was `bought`: does it recover the cart?"""
    last_at = F.timestamp_micros(F.unix_micros("abandoned_at") + settings.cart_recovery_s * 1_000_000)
    is_in_time = F.col("bought_at").between(F.col("abandoned_at"), last_at)
    is_in_cart = F.array_contains(F.col("items.product_id"), F.col("product_id"))
    return (F.col("buyer") == F.col("user_id")) & is_in_time & is_in_cart


def left_carts(sessions: DataFrame, now: Column, settings: Settings) -> DataFrame:
    """In: rows of silver.sessions. Out: one row per session whose cart was abandoned: its newest abandonment."""
    due_at = F.timestamp_micros(F.unix_micros("last_cart_change_at") + settings.cart_abandon_s * 1_000_000)
    is_left = (F.size("cart") > 0) & (due_at <= now)

    def newest(held: Column, earlier: str) -> Column:
        return F.when(is_left, held).otherwise(F.col(earlier))

    return (
        sessions.where(is_left | (F.col("earlier_abandonments") > 0))
        .withColumns(
            {
                "items": newest(F.col("cart"), "earlier_cart"),
                "cart_value": newest(F.col("cart_value"), "earlier_cart_value").cast(AMOUNT),
                "abandoned_at": newest(due_at, "earlier_abandoned_at"),
                "abandonments": F.col("earlier_abandonments") + is_left.cast("bigint"),
            }
        )
        .select(*(name for name in GOLD_ABANDONED_CARTS.facts if name != "recovered_at"))
    )
