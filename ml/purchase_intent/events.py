"""Events as carts need them: their order, what a sale is, and whether what was put into a cart was bought."""

from __future__ import annotations

from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from lakehouse.event_contract import EVENT_TYPES

VIEW, CART, REMOVE, PURCHASE = range(len(EVENT_TYPES))
"""The ranks of events at one moment."""

ORDER = ("at_us", "rank", "event_id")
_TOLD = ("user_id", "user_session", "product_id", "category_id", "price")
NEEDED = ("event_id", "event_at", "event_type", *_TOLD)
"""The columns of silver.events that carts are made of."""

_US = 1_000_000


@dataclass(frozen=True)
class CartRules:
    """:param gap_s: events of a user without a session that are so far apart, or further, are of two visits.
    :param horizon_s: a cart is bought if its customer buys its product at most so long after the cut-off.
    :param prior_carts: so many carts at the catalogue's rate are added to those of a product or category.
    """

    gap_s: int = 1800
    horizon_s: int = 86_400
    prior_carts: int = 20

    @property
    def gap_us(self) -> int:
        return self.gap_s * _US

    @property
    def horizon_us(self) -> int:
        return self.horizon_s * _US


def told(events: DataFrame) -> DataFrame:
    """In: rows of silver.events. Out: one row per event: what carts are told of it, a user's all in one partition."""
    # By the user alone: all windows within one user then need no other shuffle.
    partitions = 4 * events.sparkSession.sparkContext.defaultParallelism
    placed = events.select(place().alias("place"), *_TOLD).select("place.*", *_TOLD)
    return placed.repartition(partitions, "user_id")


def place() -> Column:
    """Of a row of silver.events: ORDER as a struct, which compares as events are ordered."""
    rank = F.array_position(F.lit(list(EVENT_TYPES)), F.col("event_type")).cast("int") - 1
    return F.struct(F.unix_micros("event_at").alias("at_us"), rank.alias("rank"), "event_id")


def is_sale() -> Column:
    return (F.col("rank") == PURCHASE) & (F.col("price") > 0)


def bought_within(rules: CartRules) -> Column:
    """Of a cart event, as `told`: does its customer buy the product within the horizon?

    At the same moment counts: purchases come after carts.
    """
    ahead = Window.partitionBy("user_id", "product_id").orderBy("at_us").rangeBetween(0, rules.horizon_us)
    return F.coalesce(F.bool_or(is_sale()).over(ahead), F.lit(False))
