"""gold.abandoned_carts and its topic: in short rounds, for a cart is worth most while it is warm.

A cart is abandoned when the store clock says so, whether or not any event arrives.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from gold.abandoned_carts import abandoned_carts, bought, recovers
from gold.touched import Touched
from lakehouse import commits
from lakehouse.clock import at_us, store_now, us_of
from lakehouse.errors import ServiceError
from lakehouse.offsets import held_offsets
from lakehouse.publication import changes, publish_committed
from lakehouse.reading import Reading
from lakehouse.revisions import on_days, revised
from lakehouse.settings import Settings
from lakehouse.tables import (
    BRONZE_EVENTS,
    GOLD_ABANDONED_CARTS,
    GOLD_ORDERS,
    SILVER_EVENTS,
    SILVER_SESSIONS,
    Table,
)
from lakehouse.topics import Topics

_CODE, _WHOLE_STAGE = "spark.sql.codegen.factoryMode", "spark.sql.codegen.wholeStage"

_QUIET = timedelta(seconds=15)
"""Without a record for so long, it is looked up whether any waits in Kafka."""


class Carts:
    """Keeps the table. For the writer of gold, in one thread.

    A commit's note says up to which versions of silver.sessions and gold.orders it has read, and at which time of the
    store clock; further, what is published. So a round that died is gone on with.
    """

    def __init__(
        self, spark: SparkSession, settings: Settings, topics: Topics, all_is_read: Callable[[], bool]
    ) -> None:
        # A session of its own: rounds run beside the batches.
        self._spark, self._settings, self._topics = spark.newSession(), settings, topics
        self._all_is_read = all_is_read
        self._touched = Touched(self._spark, settings)
        self._note: commits.Note | None = None

    def round(self) -> int:
        """One round. Out: carts that have changed."""
        if self._note is None:
            commits.create_tables(self._spark, (GOLD_ABANDONED_CARTS,), self._settings)
            self._note = commits.last_note(self._spark, GOLD_ABANDONED_CARTS, self._settings)
            self._publish()
        events, upto, orders = (
            commits.current_version(self._spark, table, self._settings)
            for table in (SILVER_EVENTS, SILVER_SESSIONS, GOLD_ORDERS)
        )
        if upto < 1 or orders < 1:
            return 0  # their first rounds are still to come
        read_version = commits.note_of(self._spark, SILVER_SESSIONS, self._settings, upto)["silver_version"]
        now = self._now(events)
        if now is None:
            return 0
        days = self._days(upto, orders, now)
        read = {"sessions_version": upto, "orders_version": orders, "clock_us": us_of(now)}
        read["silver_version"] = read_version
        if days == []:
            self._note |= read
            return 0
        # Each round has a clock of its own in its plan; to compile that took longer than to run it on a few days.
        self._spark.conf.set(_CODE, "FALLBACK" if days is None else "NO_CODEGEN")
        self._spark.conf.set(_WHOLE_STAGE, str(days is None).lower())
        old = self._on(GOLD_ABANDONED_CARTS, None, days)
        revision, made_at = self._note.get("revision", 0) + 1, datetime.now(UTC)
        sessions = self._with_now(self._on(SILVER_SESSIONS, upto, days), read_version, events, now)
        facts = abandoned_carts(sessions, self._orders(orders, days), F.col("now"), self._settings)
        rows = revised(facts, old, GOLD_ABANDONED_CARTS, revision, made_at).persist()
        changed, gone = changes(rows, old, GOLD_ABANDONED_CARTS, revision)
        self._note |= read
        if changed.num_rows or gone:
            self._note |= {"revision": revision, "days": days, "gone": gone}
            commits.replace(rows, GOLD_ABANDONED_CARTS, self._settings, self._note, days)
            self._publish(changed)
        rows.unpersist()
        return changed.num_rows + len(gone)

    def _now(self, silver_version: int) -> datetime | None:
        """The store clock, but no later than what a version of silver.events has read: what happened since may wait in
        Kafka, after an outage for many carts.
        """
        note = commits.note_of(self._spark, SILVER_EVENTS, self._settings, silver_version)
        now = datetime.now(UTC)
        read_at = at_us(note.get("kafka_at_us") or us_of(now))
        is_all = now - read_at > _QUIET and self._all_is_read()
        # If something has come while that was asked, the version asked about has not all.
        if is_all and commits.current_version(self._spark, SILVER_EVENTS, self._settings) == silver_version:
            return store_now(note, now)
        return store_now(note, min(now, read_at))

    def _with_now(self, sessions: DataFrame, read_version: int, events: int, now: datetime) -> DataFrame:
        """In: rows of silver.sessions, which has read silver.events up to a version. Out: the same, with the clock by
        which each cart is judged: of one that has events beyond that version, the first of them, since it was left
        alone until then.
        """
        if events <= read_version:
            return sessions.withColumn("now", F.lit(now))
        touched = self._touched.beyond(read_version, events)
        session = F.coalesce("user_session", F.lit(""))
        is_touched = (F.col("user_id") == F.col("who")) & (session == F.col("which"))
        joined = sessions.join(F.broadcast(touched), is_touched, how="left")
        return joined.withColumn("now", F.least("touched_at", F.lit(now)))

    def _days(self, upto: int, orders: int, now: datetime) -> list[str] | None:
        """The days of sessions whose carts may be others than they were: changed sessions, carts that have come to be
        abandoned, carts whose customer has bought one of the items. None: all days.
        """
        assert self._note is not None
        since = self._note.get("sessions_version", 0)
        changed = commits.days_changed(self._spark, SILVER_SESSIONS, self._settings, since)
        if changed is None:
            return None
        days = set(changed)
        until = us_of(now) - self._settings.cart_abandon_s * 1_000_000
        before = self._note["clock_us"] - self._settings.cart_abandon_s * 1_000_000
        if until > before:
            sessions = commits.read_table(self._spark, SILVER_SESSIONS, self._settings, upto)
            change_at = F.col("last_cart_change_at")
            is_due = (F.size("cart") > 0) & (change_at > F.lit(at_us(before))) & (change_at <= F.lit(at_us(until)))
            days |= _days_of(sessions.where(is_due))
        elif until < before:
            return None  # the clock went back
        if orders > self._note["orders_version"]:
            days |= self._days_of_buyers(orders)
        return sorted(days)

    def _days_of_buyers(self, orders: int) -> set[str]:
        """The days of abandoned carts of which an item is in an order that is new."""
        assert self._note is not None
        changed = commits.days_changed(self._spark, GOLD_ORDERS, self._settings, self._note["orders_version"])
        rows = self._on(GOLD_ORDERS, orders, changed)
        before = commits.note_of(self._spark, GOLD_ORDERS, self._settings, self._note["orders_version"])
        new = bought(rows.where(F.col("revision") > before.get("revision", 0)))
        carts = commits.read_table(self._spark, GOLD_ABANDONED_CARTS, self._settings)
        return _days_of(carts.join(new, recovers(self._settings), how="left_semi"))

    def _orders(self, version: int, days: list[str] | None) -> DataFrame:
        """What may have been bought after the carts of these days were abandoned."""
        orders = commits.read_table(self._spark, GOLD_ORDERS, self._settings, max(version, 0))
        return orders if days is None else orders.where(F.col("ordered_on") >= F.lit(min(days)).cast("date"))

    def _publish(self, changed: pa.Table | None = None) -> None:
        assert self._note is not None
        self._note = publish_committed(
            self._spark, self._settings, self._topics, GOLD_ABANDONED_CARTS, self._note, changed
        )

    def _on(self, table: Table, version: int | None, days: list[str] | None) -> DataFrame:
        rows = commits.read_table(self._spark, table, self._settings, version)
        return rows if days is None else on_days(rows, table, days)


def _days_of(rows: DataFrame) -> set[str]:
    return {str(day) for (day,) in rows.select("started_on").distinct().collect()}


def all_is_read(spark: SparkSession, settings: Settings) -> bool:
    """Do bronze and silver have all that Kafka has?"""
    bronze, events = (commits.last_note(spark, table, settings) for table in (BRONZE_EVENTS, SILVER_EVENTS))
    if events.get("bronze_version", 0) < commits.current_version(spark, BRONZE_EVENTS, settings):
        return False
    reading = Reading.of_note(bronze)
    try:
        return all(reading.in_kafka(topic) == end for topic, end in held_offsets(settings).end.items())
    except ServiceError:  # what Kafka has cannot be known now
        return False
