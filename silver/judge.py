"""What becomes of each record of a batch: a new event, a copy of one, or refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.clock import LIVE_WITHIN_US
from lakehouse.commits import Note
from lakehouse.framing import schema_id
from lakehouse.handover import Purchase, as_purchases, is_purchase, purchase_columns
from lakehouse.settings import Settings
from lakehouse.values import frame_of_columns
from lakehouse.writer_schemas import WriterSchemas
from silver.events import read_records
from silver.quality import Counts, count, counted_together, null_mask
from silver.rejects import CONFLICT, NO_SCHEMA
from silver.rows import COPY, NEW, is_event
from silver.seen import Event, SeenEvents

PLACE = ("topic", "partition", "offset")
ORDER = ("ingested_at_us", *PLACE)
"""The order of the records in which the first of several with one id is the event. It is that of the commits of bronze,
so that a batch may have any number of commits, and a rebuild comes to the same events."""

Place = tuple[str, int, int]


class Moment(NamedTuple):
    """When an event happened, and how much later Kafka had it, in microseconds."""

    at_us: int
    lag_us: int


@dataclass(frozen=True)
class Judged:
    """A batch, each record of which is known to be an event, a copy or refused. Nothing is written yet.

    :param held: bronze rows with `reasons`, held in memory until `release`.
    :param others: the verdicts that are not NEW, by place.
    :param by_partition: (topic, partition) -> records.
    :param events: the new ones.
    :param purchases: those among them, to hand on to gold.
    :param newest: the newest of the new events; None of none.
    :param kafka_at_us: when Kafka had the last of the records.
    :param unknown_schemas: ids of the schemas of Avro records which bronze.schemas does not have.
    """

    held: DataFrame
    others: dict[Place, str]
    by_partition: Counter[tuple[str, int]]
    events: list[Event]
    purchases: list[Purchase]
    counts: Counts
    newest: Moment | None
    kafka_at_us: int | None
    unknown_schemas: frozenset[int]

    @cached_property
    def records(self) -> DataFrame:
        """Bronze rows with `reasons` and `verdict`."""
        return _with_verdict(self.held, self.others)

    def release(self) -> None:
        self.held.unpersist()


def together(batches: Sequence[Judged]) -> Judged:
    """Batches that were judged one after the other, none of which is written yet, as one in their stead."""
    if len(batches) == 1:
        return batches[0]
    # Rows of one place in memory: to plan each write over all batches would take longer than to copy them.
    held = reduce(DataFrame.unionByName, (each.held for each in batches)).coalesce(1).persist()
    held.count()
    for each in batches:
        each.release()
    return Judged(
        held=held,
        others={place: verdict for each in batches for place, verdict in each.others.items()},
        by_partition=sum((each.by_partition for each in batches), Counter()),
        events=[event for each in batches for event in each.events],
        purchases=[purchase for each in batches for purchase in each.purchases],
        counts=counted_together([each.counts for each in batches]),
        newest=_newest_of(each.newest for each in batches),
        kafka_at_us=max((each.kafka_at_us for each in batches if each.kafka_at_us is not None), default=None),
        unknown_schemas=frozenset[int]().union(*(each.unknown_schemas for each in batches)),
    )


class Judge:
    """Compares batches with the rules and with what silver.events has; writes nothing.

    :param note: the newest of silver.events.
    :param schemas: what Avro records are read by.
    """

    def __init__(self, spark: SparkSession, settings: Settings, note: Note, schemas: WriterSchemas) -> None:
        self._settings, self._schemas = settings, schemas
        clock_us = note.get("clock_us")
        self.clock = None if clock_us is None else Moment(clock_us, note.get("clock_lag_us", LIVE_WITHIN_US))
        self._seen = SeenEvents(spark, settings, clock_us, note.get("own_ids", 0))

    @property
    def own_ids(self) -> int:
        """How many events of silver have an id of their producer's."""
        return self._seen.own_ids

    def judge(self, records: DataFrame) -> Judged:
        """In: bronze rows, none of which is in silver."""
        judged = self._judge(records)
        if judged.unknown_schemas and self._schemas.take(judged.unknown_schemas):
            judged.release()
            judged = self._judge(records)
        return judged

    def _judge(self, records: DataFrame) -> Judged:
        held = read_records(records, self._settings, self._schemas.by_id).persist()
        summary = _summary(held)
        candidates = _events(summary)
        known = self._seen.contents([event for event in candidates if event is not None])
        others: dict[Place, str] = {}
        accepted: list[int] = []
        places = list(zip(*(summary[name].to_pylist() for name in PLACE), strict=True))
        for row, event in enumerate(candidates):
            if event is None:
                continue
            if event.event_id not in known:
                known[event.event_id] = event.content
                accepted.append(row)
            else:
                others[places[row]] = COPY if known[event.event_id] == event.content else CONFLICT
        conflicts = sum(verdict == CONFLICT for verdict in others.values())
        late_before_us = None if self.clock is None else self.clock.at_us - self._settings.late_s * 1_000_000
        new = summary.take(pa.array(accepted, pa.int64()))
        return Judged(
            held,
            others,
            Counter((topic, partition) for topic, partition, _ in places),
            [event for row in accepted if (event := candidates[row]) is not None],
            _purchases(new),
            count(summary, accepted, conflicts, late_before_us),
            _newest(new),
            pc.max(summary["kafka_at_us"]).as_py(),
            frozenset(pc.unique(summary["unknown_schema"].drop_null()).to_pylist()),
        )

    def clock_after(self, judged: Judged) -> Moment | None:
        """The newest event once those of this batch are in silver.events; None while there is none."""
        return _newest_of((self.clock, judged.newest))

    def hold(self, judged: Judged) -> None:
        """The events of this batch will be in silver.events."""
        self.clock = self.clock_after(judged)
        self._seen.hold(judged.events)

    def remember(self, judged: Judged) -> None:
        """The events of this batch are in silver.events now."""
        self.clock = self.clock_after(judged)
        self._seen.remember(judged.events)


def _summary(records: DataFrame) -> pa.Table:
    """What is decided about in the driver: a row per record, in ORDER."""
    columns = records.select(
        *PLACE,
        F.unix_micros("ingested_at").alias("ingested_at_us"),
        "content_id",
        "reasons",
        null_mask().alias("nulls"),
        F.when(~is_event() & F.arrays_overlap("reasons", F.array(*map(F.lit, NO_SCHEMA))), schema_id()).alias(
            "unknown_schema"
        ),
        *purchase_columns(),
        F.coalesce(is_event() & is_purchase(), F.lit(False)).alias("is_purchase"),
    )
    return columns.toArrow().sort_by([(name, "ascending") for name in ORDER])


def _events(summary: pa.Table) -> list[Event | None]:
    """A value per row of the summary; None for a record that breaks a rule."""
    ids, contents, times_us = (summary[name].to_pylist() for name in ("event_id", "content_id", "event_at_us"))
    return [
        None if event_id is None else Event(event_id, content or event_id, at_us)
        for event_id, content, at_us in zip(ids, contents, times_us, strict=True)
    ]


def _purchases(summary: pa.Table) -> list[Purchase]:
    return as_purchases(summary.filter(summary["is_purchase"]).select(Purchase._fields))


def _newest_of(moments: Iterable[Moment | None]) -> Moment | None:
    there = (moment for moment in moments if moment is not None)
    return max(there, key=lambda moment: moment.at_us, default=None)


def _newest(summary: pa.Table) -> Moment | None:
    if not summary.num_rows:
        return None
    row = pc.index(summary["event_at_us"], pc.max(summary["event_at_us"])).as_py()
    at_us, kafka_at_us = (summary[name][row].as_py() for name in ("event_at_us", "kafka_at_us"))
    return Moment(at_us, kafka_at_us - at_us)


def _with_verdict(records: DataFrame, others: dict[Place, str]) -> DataFrame:
    """:param others: the verdicts that are not NEW, by place."""
    if not others:
        return records.withColumn("verdict", F.lit(NEW))
    topics, partitions, offsets = zip(*others, strict=True)
    verdicts = frame_of_columns(
        records.sparkSession,
        {
            "topic": (pa.string(), topics),
            "partition": (pa.int32(), partitions),
            "offset": (pa.int64(), offsets),
            "verdict": (pa.string(), list(others.values())),
        },
    )
    found = records.join(F.broadcast(verdicts), list(PLACE), how="left")
    return found.withColumn("verdict", F.coalesce("verdict", F.lit(NEW)))
