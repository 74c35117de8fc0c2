"""gold.cart_scores: how likely an open cart is to be bought, said once of each, soon after it has opened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse import commits
from lakehouse.clock import store_read
from lakehouse.errors import TableError
from lakehouse.event_contract import CART
from lakehouse.publication import publish_committed
from lakehouse.revisions import in_revision
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_CART_SCORES, SILVER_EVENTS
from lakehouse.topics import Topics
from lakehouse.values import frame_of_table
from ml.purchase_intent.columns import FEATURES
from ml.purchase_intent.events import NEEDED, CartRules
from ml.purchase_intent.features import open_carts
from ml.purchase_intent.history_cache import Day, Days
from ml.purchase_intent.model import matrix, probabilities
from ml.purchase_intent.user_history import events_since
from ml.tracking.champions import Champion, asking

_MOMENT = timedelta(microseconds=1)
_MOST_COMMITS = 300
"""Of more commits it takes longer to read the log than to read the newest days."""

_FEW = 5000
"""The events of so many customers are held in memory without a thought."""


def cart_scores(carts: pa.Table, classifier: Any) -> pa.Table:
    """In: rows of `open_carts`. Out: one row per cart, in their order: its keys, when it opened, when its outcome is
    known, and the probability that it is bought by then.

    :raises ValueError: the model says what is no probability.
    """
    said = probabilities(classifier, matrix(carts.select(list(FEATURES)).to_pandas()))
    if not ((said >= 0) & (said <= 1)).all():  # NaN is neither
        raise ValueError("what it says of some cart is no probability")
    keys = carts.select(["event_id", "session_key", "user_id", "user_session", "product_id"])
    opened_at = carts["cut_off_at"]
    columns = {name: keys[name] for name in keys.column_names} | {
        "opened_at": opened_at,
        "opened_on": pc.cast(opened_at, pa.date32()),
        "outcome_at": carts["outcome_at"],
        "probability": pa.array(np.asarray(said, np.float64)),
    }
    return pa.table(columns)


class CartScores:
    """Keeps the table. For the one writer of scores, in one thread.

    A cart is scored by the champion that is in force when it is first seen, if its outcome is still open by the store
    clock; what was said stays. Progress is kept in memory alone: a start looks at all carts that are still open.
    """

    def __init__(
        self,
        spark: SparkSession,
        settings: Settings,
        topics: Topics,
        days: Days | None = None,
    ) -> None:
        # To compile the plan of a round takes longer than to run it on a few carts: a session of its own that does not.
        self._spark, self._settings, self._topics = spark.newSession(), settings, topics
        self._spark.conf.set("spark.sql.codegen.factoryMode", "NO_CODEGEN")
        self._spark.conf.set("spark.sql.codegen.wholeStage", "false")
        self._rules = CartRules(gap_s=settings.session_gap_s)
        self._days = days or Days(spark, settings, self._rules)
        self._day: Day | None = None
        self._scored: set[str] = set()
        self._note: commits.Note | None = None
        self._read: int | None = None

    def forget_progress(self) -> None:
        """For when carts were passed by, as without a champion: the next round looks at all that are still open."""
        self._read = None

    def round(self, champion: Champion[Any]) -> tuple[int, int] | None:
        """One round. Out: carts scored, and the version of silver.events; None: there was nothing new.

        :raises ScoreError: the model has failed. Nothing is written; the same carts come again.
        """
        if self._note is None:
            commits.create_tables(self._spark, (GOLD_CART_SCORES,), self._settings)
            self._note = commits.last_note(self._spark, GOLD_CART_SCORES, self._settings)
            self._publish()
        upto = commits.current_version(self._spark, SILVER_EVENTS, self._settings)
        clock = store_read(commits.last_note(self._spark, SILVER_EVENTS, self._settings))
        if clock is None or upto == self._read:
            return None
        since_at = clock - timedelta(seconds=self._rules.horizon_s) + _MOMENT
        midnight = since_at.replace(hour=0, minute=0, second=0, microsecond=0)
        day = self._of(self._days.at(midnight, upto, clock))
        users = self._customers(upto, since_at, day)
        scored = self._score(champion, day, users, upto, since_at, clock) if users.num_rows else 0
        self._read = upto
        return scored, upto

    def _of(self, day: Day) -> Day:
        """The same, with what has been scored of it and of later ones looked up."""
        if day is not self._day:
            scores = commits.read_table(self._spark, GOLD_CART_SCORES, self._settings)
            known = scores.where(F.col("opened_on") >= F.lit(day.until_at.date())).select("event_id").toArrow()
            self._day, self._scored = day, set(known["event_id"].to_pylist())
        return day

    def _customers(self, upto: int, since_at: datetime, day: Day) -> pa.Table:
        """`user_id` of customers who have put something into a cart, in events that are new."""
        events = self._added(upto, day)
        is_open = (F.col("event_type") == CART) & (F.col("event_at") >= F.lit(since_at))
        return events.where(is_open).select("user_id").distinct().toArrow()

    def _added(self, upto: int, day: Day) -> DataFrame:
        if self._read is not None and self._read < upto <= self._read + _MOST_COMMITS:
            try:
                return commits.added_rows(self._spark, SILVER_EVENTS, self._settings, self._read, upto)[0]
            except TableError:
                pass  # the log does not tell any more
        events = commits.read_table(self._spark, SILVER_EVENTS, self._settings, upto)
        return events.where(F.col("event_on") >= F.lit(day.until_at.date()))

    def _score(
        self, champion: Champion[Any], day: Day, users: pa.Table, upto: int, since_at: datetime, clock: datetime
    ) -> int:
        assert self._note is not None
        few = frame_of_table(self._spark, users)
        events = commits.read_table(self._spark, SILVER_EVENTS, self._settings, upto)
        since = events_since(events, few, day.past).select(*NEEDED)
        if users.num_rows <= _FEW:
            # Else the plan, which asks for them more than once, reads the files as often.
            since = frame_of_table(self._spark, since.toArrow())
        carts = open_carts(since, day.facts, self._rules, clock, since_at, day.past.of(few)).toArrow()
        carts = carts.filter(pa.array([each not in self._scored for each in carts["event_id"].to_pylist()], pa.bool_()))
        if not carts.num_rows:
            return 0
        now = datetime.now(UTC)
        with asking(champion):
            said = cart_scores(carts, champion.model)
        facts = frame_of_table(self._spark, said).withColumns(
            {
                "model_name": F.lit(champion.name),
                "model_version": F.lit(champion.version),
                "silver_version": F.lit(upto),
                "scored_at": F.lit(now),
            }
        )
        revision = self._note.get("revision", 0) + 1
        rows = in_revision(facts, GOLD_CART_SCORES, revision, now)
        self._note |= {"silver_version": upto, "revision": revision}
        commits.append(rows, GOLD_CART_SCORES, self._settings, self._note)
        self._scored.update(said["event_id"].to_pylist())
        self._publish(rows)
        return said.num_rows

    def _publish(self, changed: DataFrame | None = None) -> None:
        assert self._note is not None
        rows = None if changed is None else changed.toArrow()
        self._note = publish_committed(self._spark, self._settings, self._topics, GOLD_CART_SCORES, self._note, rows)
