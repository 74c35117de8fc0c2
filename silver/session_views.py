"""Rows of silver.sessions as a batch changes them: of the stream, and with the views that the stream does not take."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType

from lakehouse.event_contract import VIEW
from lakehouse.session_key import session_key_column
from lakehouse.tables import SILVER_SESSIONS
from silver.sessions import BRANDS, as_time, session_facts

_SESSION = ["user_id", "user_session"]

_CART = (
    *("cart", "cart_value", "last_cart_change_at", "earlier_abandonments", "earlier_abandoned_at"),
    *("earlier_cart", "earlier_cart_value", "carts", "removes", "purchases", "revenue"),
)
"""What no view changes: it is the stream's, where it has changed, or else the table's."""


def changed_sessions(events: DataFrame, streamed: DataFrame, stored: DataFrame) -> DataFrame:
    """In: a batch of silver.events; what the stream says of it (RULE_ROWS); rows of silver.sessions of the days that
    change. Out: one row per session that the batch changes, the facts of silver.sessions.
    """
    has_id = F.col("user_session").isNotNull()
    rows = with_views(_batch_sessions(events.where(has_id)), streamed.where(has_id), stored.where(has_id))
    return rows.unionByName(session_facts(streamed.where(~has_id)))


def with_views(batch: DataFrame, streamed: DataFrame, stored: DataFrame) -> DataFrame:
    """Out: one row per session of `batch`, the facts of silver.sessions.

    :param batch: of sessions with an id, what a batch has of each: see `_batch_sessions`.
    :param streamed: of those among them that the stream took events of, its rows (RULE_ROWS).
    :param stored: their rows of silver.sessions.
    """
    changed = session_facts(streamed).select(*_SESSION, F.struct(*_CART, "brands").alias("changed"))
    times = ("started_at", "ended_at")
    before = stored.select(*_SESSION, F.struct(*_CART, "views", *times, "brands").alias("before"))
    parts = batch.join(changed, _SESSION, how="left").join(before, _SESSION, how="left")
    started_at = F.least(as_time("first_us"), "before.started_at")
    viewed = F.transform("viewed_brands", lambda brand: _brand(brand, F.lit(True), F.lit(False), F.lit(False)))
    rows = parts.select(
        session_key_column(F.col("first_us")).alias("session_key"),
        F.to_date(started_at).alias("started_on"),
        *_SESSION,
        started_at.alias("started_at"),
        F.greatest(as_time("last_us"), "before.ended_at").alias("ended_at"),
        (F.coalesce("before.views", F.lit(0)) + F.col("new_views")).alias("views"),
        *map(_newest, _CART),
        _joined_brands(viewed, F.col("changed.brands"), F.col("before.brands")).alias("brands"),
    )
    events = F.col("views") + F.col("carts") + F.col("removes") + F.col("purchases")
    return rows.withColumn("events", events).select(*SILVER_SESSIONS.facts)


def _batch_sessions(events: DataFrame) -> DataFrame:
    """In: rows of silver.events, all with a session id. Out: one row per session, as `with_views` wants it."""
    at_us, is_view = F.unix_micros("event_at"), F.col("event_type") == VIEW
    return events.groupBy(*_SESSION).agg(
        F.min(at_us).alias("first_us"),
        F.max(at_us).alias("last_us"),
        F.count_if(is_view).alias("new_views"),
        F.collect_set(F.when(is_view, F.coalesce("brand", F.lit("")))).alias("viewed_brands"),
    )


def _newest(name: str) -> Column:
    """One of _CART: as it was changed, or else as it was before, or else as it is of a session that has only views."""
    kind = SILVER_SESSIONS.schema[name].dataType
    of_views = F.array() if isinstance(kind, ArrayType) else F.lit(None if name.endswith("_at") else 0)
    return (
        F.when(F.col("changed").isNotNull(), F.col(f"changed.{name}"))
        .when(F.col("before").isNotNull(), F.col(f"before.{name}"))
        .otherwise(of_views.cast(kind))
        .alias(name)
    )


def _joined_brands(*lists: Column) -> Column:
    """The steps of all lists by brand, sorted."""
    every = F.concat(*(F.coalesce(each, F.array().cast(BRANDS)) for each in lists))

    def joined(brand: Column) -> Column:
        def any_(step: str) -> Column:
            return F.exists(every, lambda each: (each["brand"] == brand) & each[step])

        return _brand(brand, any_("viewed"), any_("carted"), any_("bought"))

    return F.transform(F.array_sort(F.array_distinct(F.transform(every, lambda each: each["brand"]))), joined)


def _brand(brand: Column, viewed: Column, carted: Column, bought: Column) -> Column:
    return F.struct(brand.alias("brand"), viewed.alias("viewed"), carted.alias("carted"), bought.alias("bought"))
