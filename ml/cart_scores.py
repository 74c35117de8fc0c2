"""gold.cart_scores: how likely an open cart is to be bought, said once of each, soon after it has opened."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
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
from lakehouse.publication import publish_committed
from lakehouse.revisions import in_revision
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_CART_SCORES, SILVER_EVENTS
from lakehouse.topics import Topics
from lakehouse.values import frame_of_table
from ml.cart_columns import FEATURES
from ml.cart_events import NEEDED, CartRules
from ml.cart_features import open_carts
from ml.cart_past import Past, events_since, past_of
from ml.cart_products import facts_since, product_facts
from ml.champions import Champion, asking
from ml.purchase_intent import matrix, probabilities

_CODE, _WHOLE_STAGE = "spark.sql.codegen.factoryMode", "spark.sql.codegen.wholeStage"

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


@dataclass(frozen=True)
class _Day:
    """What was known before the carts that are asked about: made once per day of the store clock."""

    past: Past
    facts: DataFrame
    scored: set[str]

    def release(self) -> None:
        self.past.unpersist()
        self.facts.unpersist()


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
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        # A session of its own, for its configuration.
        self._spark, self._settings, self._topics, self._clock_s = spark.newSession(), settings, topics, clock_s
        self._rules = CartRules(gap_s=settings.session_gap_s)
        self._note: commits.Note | None = None
        self._read: int | None = None
        self._day: _Day | None = None
        self._rested_s = -math.inf

    def forget_progress(self) -> None:
        """For when carts were passed by, as without a champion: the next round looks at all that are still open."""
        self._read = None

    def round(self, champion: Champion[Any]) -> tuple[int, int] | None:
        """One round. Out: carts scored, and the version of silver.events; None: there was nothing new, or it rests.

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
        day = self._on(since_at.replace(hour=0, minute=0, second=0, microsecond=0), upto, clock)
        if day is None:
            return None
        self._compile(False)
        users = self._customers(upto, since_at)
        scored = self._score(champion, day, users, upto, since_at, clock) if users.num_rows else 0
        self._read = upto
        return scored, upto

    def _on(self, midnight: datetime, upto: int, clock: datetime) -> _Day | None:
        """What was known before a midnight. None: it rests. Where files of months are replayed in minutes each round is
        of another day, and to prepare it is a pass over all events: it rests for as long as the last one took.
        """
        if self._day is not None and self._day.past.until_at == midnight:
            return self._day
        began_s = self._clock_s()
        if began_s < self._rested_s:
            return None
        if self._day is not None:
            self._day.release()
        self._compile(True)
        events = commits.read_table(self._spark, SILVER_EVENTS, self._settings, upto)
        past = past_of(events, self._rules, midnight).persist()
        facts = facts_since(product_facts(events, self._rules, clock), midnight.date()).persist()
        for each in (past.users, past.products, past.days, facts):
            each.count()
        scores = commits.read_table(self._spark, GOLD_CART_SCORES, self._settings)
        known = scores.where(F.col("opened_on") >= F.lit(midnight.date())).select("event_id").toArrow()
        self._day = _Day(past, facts, set(known["event_id"].to_pylist()))
        ended_s = self._clock_s()
        self._rested_s = ended_s + (ended_s - began_s)
        return self._day

    def _customers(self, upto: int, since_at: datetime) -> pa.Table:
        """`user_id` of customers who have put something into a cart, in events that are new."""
        events = self._added(upto)
        is_open = (F.col("event_type") == "cart") & (F.col("event_at") >= F.lit(since_at))
        return events.where(is_open).select("user_id").distinct().toArrow()

    def _added(self, upto: int) -> DataFrame:
        if self._read is not None and self._read < upto <= self._read + _MOST_COMMITS:
            try:
                return commits.added_rows(self._spark, SILVER_EVENTS, self._settings, self._read, upto)[0]
            except TableError:
                pass  # the log does not tell any more
        return self._events(upto)

    def _events(self, upto: int) -> DataFrame:
        """Of the days from which a cart may still be open."""
        assert self._day is not None
        events = commits.read_table(self._spark, SILVER_EVENTS, self._settings, upto)
        return events.where(F.col("event_on") >= F.lit(self._day.past.until_at.date()))

    def _score(
        self, champion: Champion[Any], day: _Day, users: pa.Table, upto: int, since_at: datetime, clock: datetime
    ) -> int:
        assert self._note is not None
        few = frame_of_table(self._spark, users)
        events = commits.read_table(self._spark, SILVER_EVENTS, self._settings, upto)
        since = events_since(events, few, day.past).select(*NEEDED)
        if users.num_rows <= _FEW:
            # Else the plan, which asks for them more than once, reads the files as often.
            since = frame_of_table(self._spark, since.toArrow())
        carts = open_carts(since, day.facts, self._rules, clock, since_at, day.past.of(few)).toArrow()
        carts = carts.filter(pa.array([each not in day.scored for each in carts["event_id"].to_pylist()], pa.bool_()))
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
        day.scored.update(said["event_id"].to_pylist())
        self._publish(rows)
        return said.num_rows

    def _compile(self, whole: bool) -> None:
        """To compile the plan of a round, which has a clock of its own, takes longer than to run it on a few carts."""
        self._spark.conf.set(_CODE, "FALLBACK" if whole else "NO_CODEGEN")
        self._spark.conf.set(_WHOLE_STAGE, str(whole).lower())

    def _publish(self, changed: DataFrame | None = None) -> None:
        assert self._note is not None
        rows = None if changed is None else changed.toArrow()
        self._note = publish_committed(self._spark, self._settings, self._topics, GOLD_CART_SCORES, self._note, rows)
