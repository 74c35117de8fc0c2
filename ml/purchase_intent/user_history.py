"""What users had done before a midnight, added up: so that carts of later days are known from the events since.

A round of scoring asks about a few hundred users. Their whole past is in as many files as the store has days; what
features need of it is a few numbers, made once a day in one pass over all events (docs/decisions/0023-scoring.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from lakehouse.schemas import AMOUNT
from ml.purchase_intent.events import CART, CartRules, is_sale, told
from ml.purchase_intent.session_features import with_cart, with_visit

_OF_USER = ("user_orders", "user_revenue", "user_visits", "user_carts")
_OF_PRODUCT = ("user_product_carts", "user_product_units")


@dataclass(frozen=True)
class Past:
    """:param until_at: a midnight; events of this time and later are none of the past.
    :param users: one row per user: `user_orders`, `user_revenue`, `user_visits`, `user_carts`, `last_sale_us`.
    :param products: one row per user and product that was put into a cart or sold: `user_product_carts`, `_units`.
    :param days: one row per session, as a hash, and day: `session`, `event_on`. Two sessions of one hash do no harm:
        it only says where to look.
    """

    until_at: datetime
    users: DataFrame
    products: DataFrame
    days: DataFrame

    def is_over(self) -> Column:
        """Of an event, as `told`."""
        return F.col("at_us") >= F.unix_micros(F.lit(self.until_at))

    def of(self, users: DataFrame) -> Past:
        """The same of a few users. In: `user_id`."""
        few = F.broadcast(users)
        return replace(
            self,
            users=self.users.join(few, "user_id", how="left_semi"),
            products=self.products.join(few, "user_id", how="left_semi"),
        )

    def persist(self) -> Past:
        """Computed once, when first asked for."""
        frames = (self.users, self.products, self.days)
        users, products, days = (each.persist() for each in frames)
        return Past(self.until_at, users, products, days)

    def unpersist(self) -> None:
        for each in (self.users, self.products, self.days):
            each.unpersist()


def past_of(events: DataFrame, rules: CartRules, until_at: datetime) -> Past:
    """In: all of silver.events. Out: of those before a midnight, the past of each user."""
    earlier = events.where(F.col("event_on") < F.lit(until_at.date()))
    visited = with_cart(with_visit(told(earlier), rules))
    users = visited.groupBy("user_id").agg(
        F.count_if("is_order").alias("user_orders"),
        F.coalesce(F.sum(F.when(is_sale(), F.col("price"))), F.lit(0)).cast(AMOUNT).alias("user_revenue"),
        F.count_if("is_start").alias("user_visits"),
        F.count_if("is_opening").alias("user_carts"),
        F.max(F.when(is_sale(), F.col("at_us"))).alias("last_sale_us"),
    )
    wanted = told(earlier).where((F.col("rank") == CART) | is_sale())
    products = wanted.groupBy("user_id", "product_id").agg(
        F.count_if(F.col("rank") == CART).alias("user_product_carts"), F.count_if(is_sale()).alias("user_product_units")
    )
    days = earlier.select(_session().alias("session"), "event_on").distinct()
    return Past(until_at, users, products, days)


def events_since(events: DataFrame, users: DataFrame, past: Past) -> DataFrame:
    """In: rows of silver.events; `user_id` of those whose carts are wanted. Out: their events since the past is over,
    with the older ones of the same sessions, of which the past tells nothing but the days.
    """
    few = F.broadcast(users)
    since = events.where(F.col("event_on") >= F.lit(past.until_at.date())).join(few, "user_id", how="left_semi")
    sessions = F.broadcast(since.select(_session().alias("session")).distinct())
    found = sessions.join(past.days, "session").toArrow().to_pydict()  # in the session that these events are of
    if not found["event_on"]:
        return since
    is_older = F.col("event_on").isin(sorted(set(found["event_on"]))) & _session().isin(sorted(set(found["session"])))
    return since.unionByName(events.where(is_older).join(few, "user_id", how="left_semi"))


def with_past(carts: DataFrame, past: Past | None) -> DataFrame:
    """In: rows with what users have done since the past is over. Out: the same rows, with all that they have done."""
    if past is None:
        return carts
    users = past.users.select("user_id", F.struct(*_OF_USER, "last_sale_us").alias("of_user"))
    products = past.products.select("user_id", "product_id", F.struct(*_OF_PRODUCT).alias("of_product"))
    joined = carts.join(users, "user_id", how="left").join(products, ["user_id", "product_id"], how="left")
    sums = {name: _sum(name, "of_user") for name in _OF_USER} | {name: _sum(name, "of_product") for name in _OF_PRODUCT}
    sums["user_revenue"] = sums["user_revenue"].cast(AMOUNT)
    newest = F.greatest(F.col("last_sale_us"), F.col("of_user.last_sale_us"))  # of one that is null, the other
    return joined.withColumns(sums | {"last_sale_us": newest}).drop("of_user", "of_product")


def _sum(name: str, of: str) -> Column:
    return F.col(name) + F.coalesce(F.col(f"{of}.{name}"), F.lit(0))


def _session() -> Column:
    return F.xxhash64("user_id", "user_session")
