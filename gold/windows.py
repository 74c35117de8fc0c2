"""All purchases of the windows that a batch touches: of recent windows from memory, of older ones from silver."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse import commits
from lakehouse.handover import Purchase, is_purchase, purchases_in
from lakehouse.recent import Recent, events_since
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_EVENTS
from lakehouse.values import frame_of_columns

Window = tuple[int, int]
"""(window_start in microseconds since 1970, product_id)."""


class WindowPurchases:
    """Knows the purchases of silver.events by window and product."""

    def __init__(self, spark: SparkSession, settings: Settings, version: int, clock_us: int | None) -> None:
        """:param version: of silver.events; the purchases up to it are known.
        :param clock_us: the newest event_at in silver.events; None when it is empty.
        """
        self._spark, self._settings = spark, settings
        self._window_us = settings.sales_window_s * 1_000_000
        self._recent: Recent[Purchase] = Recent(self._window_us, settings.recent_rows)
        self._held: dict[Window, list[Purchase]] = {}
        if clock_us is not None:
            since_us = self._recent.bucket(clock_us - settings.recent_s * 1_000_000)
            self._recent.begin_at(since_us)
            self.remember(purchases_in(events_since(spark, settings, version, since_us)))

    def window_of(self, purchase: Purchase) -> Window:
        return self._recent.bucket(purchase.event_at_us), purchase.product_id

    def hold(self, purchases: list[Purchase]) -> None:
        """These purchases will be in silver.events: they count from now on."""
        for purchase in purchases:
            self._held.setdefault(self.window_of(purchase), []).append(purchase)

    def remember(self, purchases: list[Purchase]) -> None:
        """These purchases are in silver.events now; none is held any more."""
        self._held = {}
        for purchase in purchases:
            self._recent.add(purchase.event_at_us, purchase.event_id, purchase)

    def of(self, windows: set[Window], version: int) -> dict[str, Purchase]:
        """The purchases that silver has in these windows, up to a version, and those held. Out: by event_id."""
        known = {
            event_id: purchase
            for start_us in {start_us for start_us, _ in windows}
            for event_id, purchase in self._recent.at(start_us).items()
            if (start_us, purchase.product_id) in windows
        }
        old = {window for window in windows if not self._recent.covers(window[0])}
        held = {purchase.event_id: purchase for window in windows for purchase in self._held.get(window, ())}
        return held | known | (self._look_up(old, version) if old else {})

    def _look_up(self, windows: set[Window], version: int) -> dict[str, Purchase]:
        """Reads only the days of these windows, and only the files whose range of event_at reaches into them."""
        starts_us = [start_us for start_us, _ in windows]
        first = F.timestamp_micros(F.lit(min(starts_us)))
        end = F.timestamp_micros(F.lit(max(starts_us) + self._window_us))
        days = sorted({datetime.fromtimestamp(start_us // 1_000_000, UTC).date() for start_us in starts_us})
        at_us = F.unix_micros("event_at")
        products = [product_id for _, product_id in windows]
        wanted = frame_of_columns(
            self._spark, {"start_us": (pa.int64(), starts_us), "product_id": (pa.int64(), products)}
        )
        found = (
            self._table(version)
            .where(F.col("event_on").isin(days) & (F.col("event_at") >= first) & (F.col("event_at") < end))
            .where(is_purchase())
            .withColumn("start_us", at_us - F.pmod(at_us, F.lit(self._window_us)))
            .join(F.broadcast(wanted), ["start_us", "product_id"], how="left_semi")
        )
        return {purchase.event_id: purchase for purchase in purchases_in(found)}

    def _table(self, version: int) -> DataFrame:
        return commits.read_table(self._spark, SILVER_EVENTS, self._settings, version)
