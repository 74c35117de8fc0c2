"""What was known before the day on which carts open, prepared beside the rounds: they go on with the day before."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime

from pyspark.sql import DataFrame, SparkSession

from lakehouse import commits
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_EVENTS
from ml.purchase_intent.events import CartRules
from ml.purchase_intent.product_facts import facts_since, product_facts
from ml.purchase_intent.user_history import Past, past_of

Start = Callable[[Callable[[], None]], object]

_POOL = "days"


@dataclass(frozen=True)
class Day:
    """What was known before a midnight, held in memory: made in one pass over all events."""

    past: Past
    facts: DataFrame

    @property
    def until_at(self) -> datetime:
        return self.past.until_at

    def release(self) -> None:
        self.past.unpersist()
        self.facts.unpersist()


class Days:
    """The day that a round needs, or the newest before it. For one thread, and one more that this begins.

    :param start: begins work beside the caller's.
    """

    def __init__(
        self,
        spark: SparkSession,
        settings: Settings,
        rules: CartRules,
        clock_s: Callable[[], float] = time.monotonic,
        start: Start | None = None,
    ) -> None:
        # A session of its own: a pass over all events is worth compiling, and a round is not.
        self._spark, self._settings, self._rules = spark.newSession(), settings, rules
        self._clock_s, self._start = clock_s, start or _in_thread
        self._day: Day | None = None
        self._next: Future[Day] | None = None
        self._rested_s = -math.inf

    def at(self, midnight: datetime, upto: int, clock: datetime) -> Day:
        """What was known before a midnight of the store clock; while that is being prepared, before an earlier one.

        The first is waited for. Then, where files of months are replayed in minutes, and each round is of another day,
        preparing them rests for as long as the last pass took.

        :param upto: the version of silver.events to prepare it from.
        :param clock: the store clock of that version.
        """
        is_ahead = self._day is not None and self._day.until_at > midnight
        if self._next is not None and (self._next.done() or is_ahead):
            self._take(self._next.result())
            self._next = None
        if self._day is None or self._day.until_at > midnight:
            self._take(self._made(midnight, upto, clock))
        elif self._day.until_at < midnight and self._next is None and self._clock_s() >= self._rested_s:
            self._next = self._begun(midnight, upto, clock)
        assert self._day is not None
        return self._day

    def _take(self, day: Day) -> None:
        if self._day is not None:
            self._day.release()
        self._day = day

    def _begun(self, midnight: datetime, upto: int, clock: datetime) -> Future[Day]:
        found: Future[Day] = Future()

        def work() -> None:
            # Else the rounds' jobs, which take a second, would queue behind this one's.
            self._spark.sparkContext.setLocalProperty("spark.scheduler.pool", _POOL)
            try:
                found.set_result(self._made(midnight, upto, clock))
            except BaseException as error:
                found.set_exception(error)

        self._start(work)
        return found

    def _made(self, midnight: datetime, upto: int, clock: datetime) -> Day:
        began_s = self._clock_s()
        events = commits.read_table(self._spark, SILVER_EVENTS, self._settings, upto)
        past = past_of(events, self._rules, midnight).persist()
        facts = facts_since(product_facts(events, self._rules, clock), midnight.date()).persist()
        for each in (past.users, past.products, past.days, facts):
            each.count()
        ended_s = self._clock_s()
        self._rested_s = ended_s + (ended_s - began_s)
        return Day(past, facts)


def _in_thread(work: Callable[[], None]) -> None:
    # Daemonic: a process that is told to stop does not wait for it.
    threading.Thread(target=work, name="days", daemon=True).start()
