"""gold.customer_scores: what the model of lifetime value says of each customer who has ordered."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse import commits, manifests
from lakehouse.clock import at_us, store_read, us_of
from lakehouse.errors import TableError
from lakehouse.publication import gone_keys, publish_committed
from lakehouse.revisions import in_revision, keys_gone
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_CUSTOMER_SCORES, SILVER_EVENTS
from lakehouse.topics import Topics
from lakehouse.values import frame_of_table
from ml.lifetime_value.features import SUMMARY, customers, orders_of
from ml.lifetime_value.model import HORIZON_DAYS, LifetimeValue, predicted
from ml.lifetime_value.training import summary_of
from ml.tracking.champions import Champion, asking

_LOT = 20_000
"""Customers that the model is asked about at once: it holds some kilobytes of each."""

_MOST_COMMITS = 2000
"""Of more commits it takes longer to read the log than to score all customers."""

_MOMENT = timedelta(microseconds=1)
_USD = ("expected_value", "value_low", "value_high")


def customer_scores(rows: pd.DataFrame, model: LifetimeValue) -> pa.Table:
    """In: `user_id` and `features.SUMMARY`, one row per customer. Out: one row per customer, in their order: `user_id`
    and what the model says of the next `horizon_days`; money in USD to the cent, null where it has no value.

    :raises ValueError: the model says what is no number.
    """
    lots = [rows.iloc[start : start + _LOT] for start in range(0, max(len(rows), 1), _LOT)]
    said = pd.concat([predicted(model, summary_of(lot), HORIZON_DAYS) for lot in lots], ignore_index=True)
    numbers = said.drop(columns=list(_USD)).to_numpy(np.float64)
    if not np.isfinite(numbers).all() or np.isinf(said[list(_USD)].to_numpy(np.float64)).any():
        raise ValueError("what it says of some customer is no number")
    columns = {"user_id": pa.array(rows["user_id"], pa.int64())}
    for name in said.columns:
        values = pa.array(said[name], from_pandas=True)
        columns[name] = values.cast(pa.decimal128(20, 2)) if name in _USD else values
    return pa.table(columns | {"horizon_days": pa.array(np.full(len(rows), HORIZON_DAYS))})


class CustomerScores:
    """Keeps the table. For the one writer of scores, in one thread.

    All customers are scored when the champion or the day of the store clock is another, and after a rebuild; else those
    who have ordered since. A commit's note says which champion, which rebuild of silver and up to which version.
    """

    def __init__(
        self,
        spark: SparkSession,
        settings: Settings,
        topics: Topics,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spark, self._settings, self._topics, self._clock_s = spark.newSession(), settings, topics, clock_s
        self._note: commits.Note | None = None
        self._due_s = -math.inf

    def round(self, champion: Champion[LifetimeValue]) -> tuple[int, int] | None:
        """One round. Out: customers scored, and the version of silver.events; None: it was not the time for one.

        :raises ScoreError: the model has failed. Nothing is written.
        """
        if self._note is None:
            commits.create_tables(self._spark, (GOLD_CUSTOMER_SCORES,), self._settings)
            self._note = commits.last_note(self._spark, GOLD_CUSTOMER_SCORES, self._settings)
            self._publish()
        is_new = (self._note.get("model_name"), self._note.get("model_version")) != (champion.name, champion.version)
        if self._clock_s() < self._due_s and not is_new:
            return None
        upto = commits.current_version(self._spark, SILVER_EVENTS, self._settings)
        clock = store_read(commits.last_note(self._spark, SILVER_EVENTS, self._settings))
        if clock is None:
            return None
        read: commits.Note = {"silver_version": upto, "cut_off_us": us_of(clock + _MOMENT), "rebuild": self._rebuild()}
        read |= {"model_name": champion.name, "model_version": champion.version}
        users = None if is_new or self._is_another_day(read) else self._ordered_since(upto)
        scored = 0
        if users is None or users.num_rows:
            scored = self._score(champion, users, read)
        self._note |= read
        self._due_s = self._clock_s() + self._settings.customer_scores_s
        return scored, upto

    def _is_another_day(self, read: commits.Note) -> bool:
        """Or another life of silver."""
        assert self._note is not None
        days = [note["cut_off_us"] // 86_400_000_000 for note in (self._note, read)]
        is_earlier = read["silver_version"] < self._note["silver_version"]
        return days[0] != days[1] or is_earlier or read["rebuild"] != self._note["rebuild"]

    def _ordered_since(self, upto: int) -> pa.Table | None:
        """`user_id` of customers with orders that are new. None: the log does not tell, or has too much to tell."""
        assert self._note is not None
        since = self._note["silver_version"]
        if upto - since > _MOST_COMMITS:
            return None
        try:
            added, _ = commits.added_rows(self._spark, SILVER_EVENTS, self._settings, since, upto)
        except TableError:
            return None
        return orders_of(added).select("user_id").distinct().toArrow()

    def _score(self, champion: Champion[LifetimeValue], users: pa.Table | None, read: commits.Note) -> int:
        """:param users: None: all."""
        assert self._note is not None
        events = commits.read_table(self._spark, SILVER_EVENTS, self._settings, read["silver_version"])
        cut_off_at = at_us(read["cut_off_us"])
        if users is not None:
            few = F.broadcast(frame_of_table(self._spark, users))
            events = events.join(few, "user_id", how="left_semi")
        known = customers(orders_of(events), cut_off_at, timedelta(0)).select("user_id", *SUMMARY)
        rows = known.orderBy("user_id").toArrow().to_pandas()
        now = datetime.now(UTC)
        with asking(champion):
            said = customer_scores(rows, champion.model)
        facts = frame_of_table(self._spark, said).withColumns(
            {
                "cut_off_at": F.lit(cut_off_at),
                "model_name": F.lit(champion.name),
                "model_version": F.lit(champion.version),
                "silver_version": F.lit(read["silver_version"]),
                "scored_at": F.lit(now),
            }
        )
        revision = self._note.get("revision", 0) + 1
        fresh = in_revision(facts, GOLD_CUSTOMER_SCORES, revision, now)
        old = commits.read_table(self._spark, GOLD_CUSTOMER_SCORES, self._settings)
        gone: list[list[str]] = []
        if users is None:
            gone = gone_keys(keys_gone(old, fresh, GOLD_CUSTOMER_SCORES), GOLD_CUSTOMER_SCORES)
            kept = fresh
        else:
            kept = old.join(F.broadcast(fresh.select("user_id")), "user_id", how="left_anti").unionByName(fresh)
        self._note |= read | {"revision": revision, "gone": gone}
        commits.replace(kept, GOLD_CUSTOMER_SCORES, self._settings, self._note, None)
        self._publish(fresh)
        return said.num_rows

    def _rebuild(self) -> int:
        """Number of the last rebuild: after one, what a version of silver.events had said is no longer true."""
        manifest = manifests.newest(self._spark, self._settings)
        return 0 if manifest is None else manifest.number

    def _publish(self, changed: DataFrame | None = None) -> None:
        assert self._note is not None
        rows = None if changed is None else changed.toArrow()
        self._note = publish_committed(
            self._spark, self._settings, self._topics, GOLD_CUSTOMER_SCORES, self._note, rows
        )
