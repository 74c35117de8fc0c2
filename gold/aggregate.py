"""The step of the gold layer: new purchases -> changed sales, published at once and upserted in rounds."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from gold.product_sales import product_sales
from gold.whole import first_revision
from gold.windows import Window, WindowPurchases
from lakehouse import commits
from lakehouse.errors import SettingError
from lakehouse.handover import Purchase
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_PRODUCT_SALES, SILVER_EVENTS
from lakehouse.topics import Key, Row, Topics, key_of
from lakehouse.values import frame_of_columns, frame_of_rows

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Change:
    """What a batch of purchases changes. :param rows: of gold.product_sales, whole."""

    purchases: list[Purchase]
    rows: list[Row]
    paid_at_us: dict[Key, int]


class Aggregation:
    """Turns purchases into revisions of gold.product_sales, and keeps the version of silver.events it has read.

    Each start of a writer begins a new generation, recorded before anything is published: whatever a generation that
    died had published and not written is published again under higher revisions
    (docs/decisions/0003-revisions-and-generations.md).

    :raises SettingError: the table has windows of another length than the settings.
    """

    def __init__(self, spark: SparkSession, settings: Settings, topics: Topics) -> None:
        # A session of its own: rounds run beside the batches, and the note of a merge is a setting of the session.
        self._spark, self._merging, self._settings = spark, spark.newSession(), settings
        commits.create_tables(spark, (GOLD_PRODUCT_SALES,), settings)
        note = commits.last_note(spark, GOLD_PRODUCT_SALES, settings)
        _refuse_other_windows(note, settings)
        self.read_version = commits.as_moved(spark, SILVER_EVENTS, settings, note.get("silver_version", 0))
        self._clock_us: int | None = note.get("clock_us")
        self._newest_us = self._clock_us
        self._generation: int = note.get("generation", 0) + 1
        commits.append_nothing(spark, GOLD_PRODUCT_SALES, settings, self._note(self.read_version, self._clock_us))
        self._sequence = 0
        clock_us = commits.last_note(spark, SILVER_EVENTS, settings).get("clock_us")
        self._purchases = WindowPurchases(spark, settings, self.read_version, clock_us)
        self._topics = topics
        self._lock = threading.Lock()
        self._unsettled: dict[Key, Row] = {}
        self._pending: dict[Key, Row] = {}
        self._written_version = self.read_version

    def revise(self, purchases: list[Purchase], silver_version: int, now: datetime) -> Change:
        """The rows that these purchases change, each recomputed from all purchases of its window.

        :param silver_version: what silver holds of older purchases is looked up as of this version.
        """
        if not purchases:
            return Change([], [], {})
        windows: dict[Window, int] = {}
        for purchase in purchases:
            window = self._purchases.window_of(purchase)
            windows[window] = min(windows.get(window, purchase.kafka_at_us), purchase.kafka_at_us)
        all_purchases = self._purchases.of(set(windows), silver_version)
        all_purchases.update((purchase.event_id, purchase) for purchase in purchases)
        facts = product_sales(self._frame(list(all_purchases.values())), self._settings.sales_window_s)
        self._sequence += 1
        revision = first_revision(self._generation) + self._sequence
        rows = [row | {"revision": revision, "updated_at": now} for row in facts.toArrow().to_pylist()]
        paid_at_us = {(_EPOCH + timedelta(microseconds=start), product): at for (start, product), at in windows.items()}
        return Change(purchases, rows, paid_at_us)

    def publish(self, change: Change) -> None:
        if change.rows:
            self._topics.publish(GOLD_PRODUCT_SALES, change.rows, change.paid_at_us)

    def hold(self, change: Change) -> None:
        """Silver will have the purchases of this change: those after it are added to them."""
        self._purchases.hold(change.purchases)

    def settle(self, changes: Sequence[Change], silver_version: int | None) -> None:
        """Silver has the purchases of these changes, and of all that were held.

        :param silver_version: all up to this version is aggregated now, and the next round may write it; None: the
            changes are a part of a commit of silver of which more is to come.
        """
        self._purchases.remember([purchase for change in changes for purchase in change.purchases])
        for change in changes:
            self._unsettled.update((key_of(row, GOLD_PRODUCT_SALES), row) for row in change.rows)
            for purchase in change.purchases:
                self._newest_us = max(purchase.event_at_us, self._newest_us or purchase.event_at_us)
        if silver_version is None:
            return
        with self._lock:
            self._pending.update(self._unsettled)
            self.read_version, self._clock_us = silver_version, self._newest_us
        self._unsettled = {}

    def upsert(self) -> int:
        """One round: writes what is settled into gold.product_sales in one commit. Out: rows written."""
        with self._lock:
            rows, version, clock_us = list(self._pending.values()), self.read_version, self._clock_us
            self._pending = {}
        if rows:
            days = ", ".join(f"DATE'{day}'" for day in sorted({row["window_start_on"].isoformat() for row in rows}))
            first = min(row["window_start_at"] for row in rows)
            only = f"t.window_start_on IN ({days}) AND t.window_start_at >= TIMESTAMP'{first:%Y-%m-%d %H:%M:%S}'"
            source = frame_of_rows(self._merging, rows, GOLD_PRODUCT_SALES.schema)
            note = self._note(version, clock_us) | {
                "oldest_us": (first - _EPOCH) // timedelta(microseconds=1),
                "revision": max(row["revision"] for row in rows),
            }
            commits.merge(source, GOLD_PRODUCT_SALES, self._settings, note, only)
        elif version > self._written_version:
            commits.append_nothing(self._merging, GOLD_PRODUCT_SALES, self._settings, self._note(version, clock_us))
        self._written_version = version
        return len(rows)

    def _note(self, silver_version: int, clock_us: int | None) -> commits.Note:
        """:param clock_us: the newest sale or refund in the table; it tells which windows are complete."""
        window_s = self._settings.sales_window_s
        note = {"silver_version": silver_version, "generation": self._generation, "window_s": window_s}
        return note if clock_us is None else note | {"clock_us": clock_us}

    def _frame(self, purchases: list[Purchase]) -> DataFrame:
        _, at_us, products, prices, users, _ = zip(*purchases, strict=True)
        frame = frame_of_columns(
            self._spark,
            {
                "event_at_us": (pa.int64(), at_us),
                "product_id": (pa.int64(), products),
                "price": (pa.decimal128(10, 2), [Decimal(price) for price in prices]),
                "user_id": (pa.int64(), users),
            },
        )
        return frame.withColumn("event_at", F.timestamp_micros("event_at_us"))


def _refuse_other_windows(note: commits.Note, settings: Settings) -> None:
    """Rows of two lengths of windows in one table would count sales twice."""
    made_with = note.get("window_s", settings.sales_window_s)
    if made_with != settings.sales_window_s:
        raise SettingError(
            f"The setting sales_window_s is {settings.sales_window_s}, but {GOLD_PRODUCT_SALES.name} has windows of"
            f" {made_with} s.",
            "the length that the table was made with",
            f"set LAKEHOUSE_SALES_WINDOW_S={made_with}, or begin a new lake",
        )
