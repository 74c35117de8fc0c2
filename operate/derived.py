"""All tables that follow from silver.events alone, in an order in which each comes after those it is made of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from gold.abandoned_carts import abandoned_carts
from gold.folds import FOLDS, Fold
from gold.whole import whole_sales
from lakehouse import commits
from lakehouse.clock import at_us, store_now, us_of
from lakehouse.settings import Settings
from lakehouse.tables import (
    GOLD_ABANDONED_CARTS,
    GOLD_ORDERS,
    GOLD_PRODUCT_SALES,
    SILVER_EVENTS,
    SILVER_SESSIONS,
    Table,
)
from silver.sessions import rules_in, sessions

Read = Callable[[Table], DataFrame]
Version = Callable[[Table], int]


@dataclass(frozen=True)
class Derived:
    """A table.

    :param whole: a way to read the tables before it, and the store clock -> all of its facts.
    :param note: what its writer has to find in the note of a commit of all rows: the versions of the tables that it was
        made of, and the store clock.
    """

    table: Table
    whole: Callable[[Read, Settings, datetime], DataFrame]
    note: Callable[[Version, Settings, datetime], commits.Note]


def _fold(fold: Fold) -> Derived:
    return Derived(
        fold.table,
        lambda read, _settings, _now: fold.whole(read(fold.source)),
        lambda version, _settings, _now: {"source_version": version(fold.source)},
    )


DERIVED = (
    Derived(
        GOLD_PRODUCT_SALES,
        lambda read, settings, _now: whole_sales(read(SILVER_EVENTS), settings.sales_window_s),
        lambda _version, settings, _now: {"window_s": settings.sales_window_s},
    ),
    Derived(
        SILVER_SESSIONS,
        lambda read, settings, _now: sessions(read(SILVER_EVENTS), settings),
        lambda _version, settings, _now: {"rules": rules_in(settings)},
    ),
    *(_fold(fold) for fold in FOLDS),
    Derived(
        GOLD_ABANDONED_CARTS,
        lambda read, settings, now: abandoned_carts(read(SILVER_SESSIONS), read(GOLD_ORDERS), F.lit(now), settings),
        lambda version, _settings, now: {
            "sessions_version": version(SILVER_SESSIONS),
            "orders_version": version(GOLD_ORDERS),
            "clock_us": us_of(now),
        },
    ),
)


def carts_at(spark: SparkSession, settings: Settings) -> datetime:
    """The time of the store clock as of which abandoned carts are built: that of those in force, so that both can be
    compared. They catch up with the clock by themselves.
    """
    noted = commits.last_note(spark, GOLD_ABANDONED_CARTS, settings).get("clock_us")
    if noted is not None:
        return at_us(noted)
    now = datetime.now(UTC)
    return store_now(commits.last_note(spark, SILVER_EVENTS, settings), now) or now


def derived_tables() -> tuple[Table, ...]:
    """Without the log of corrections, which tells of one life of the lake."""
    return tuple(each.table for each in DERIVED)
