"""Rows of Spark -> spans of `session_reconcile`, and back: which rows are of the sessions that the driver names?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse.values import frame_of_columns
from silver.days_of_ids import Day
from silver.session_reconcile import Span, StreamKey
from silver.session_stream import is_streamed
from silver.stretches import Stretch, in_stretches, widen


def arrived_spans(events: DataFrame) -> dict[StreamKey, Span]:
    """In: rows of silver.events. Out: from when to when each user and session id had some, and how many of them the
    stream takes.
    """
    at_us = F.unix_micros("event_at")
    counts = (F.min(at_us), F.max(at_us), F.count_if(is_streamed()))
    grouped = events.groupBy("user_id", _session_id()).agg(*counts)
    return {(user_id, session_id): Span("", *rest) for user_id, session_id, *rest in rows_of(grouped)}


def rule_spans(rows: DataFrame) -> dict[StreamKey, list[Span]]:
    """In: RULE_ROWS. Out: the sessions of each user and session id."""
    spans: defaultdict[StreamKey, list[Span]] = defaultdict(list)
    columns = ("session_key", "started_us", "ended_us", "events", "added", "replaces")
    for user_id, session_id, *span, replaces in rows_of(rows.select("user_id", _session_id(), *columns)):
        spans[user_id, session_id].append(Span(*span)._replace(replaces=tuple(replaces)))
    return spans


def table_spans(rows: DataFrame) -> Iterator[tuple[StreamKey, Span]]:
    """In: rows of silver.sessions. Out: a span of each; its events are those that the stream takes."""
    times = (F.unix_micros("started_at"), F.unix_micros("ended_at"))
    without_views = F.col("events") - F.col("views")
    streamed = F.when(F.col("user_session").isNull(), F.col("events")).otherwise(without_views)
    for user_id, session_id, *span in rows_of(rows.select("user_id", _session_id(), "session_key", *times, streamed)):
        yield (user_id, session_id), Span(*span)


def rows_of(rows: DataFrame) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in rows.toArrow().columns), strict=True)


def keys_frame(spark: SparkSession, keys: Iterable[StreamKey]) -> DataFrame:
    """Out: one row for each: `user_id`, `session_id`."""
    return frame_of_columns(spark, _key_columns(keys))


def is_of_key(rows: DataFrame, keys: DataFrame) -> Column:
    return (rows["user_id"] == keys["user_id"]) & (F.coalesce(rows["user_session"], F.lit("")) == keys["session_id"])


def events_within(spans: Mapping[StreamKey, Span], events: DataFrame, spark: SparkSession) -> DataFrame:
    """In: rows of silver.events. Out: those of each user and session id, of its time. Opens only the days of these."""
    stretches: dict[Day, Stretch] = {}
    for span in spans.values():
        widen(stretches, span.first_us, span.last_us)
    events = events.where(in_stretches(stretches))
    columns = _key_columns(spans)
    for name in ("first_us", "last_us"):
        columns[name] = (pa.int64(), [getattr(span, name) for span in spans.values()])
    wanted = frame_of_columns(spark, columns)
    at_us = F.unix_micros("event_at")
    is_wanted = is_of_key(events, wanted) & at_us.between(wanted["first_us"], wanted["last_us"])
    return events.join(F.broadcast(wanted), is_wanted, how="left_semi")


def _session_id() -> Column:
    return F.coalesce("user_session", F.lit(""))


def _key_columns(keys: Iterable[StreamKey]) -> dict[str, tuple[pa.DataType, Sequence[Any]]]:
    users, session_ids = zip(*keys, strict=True)
    return {"user_id": (pa.int64(), users), "session_id": (pa.string(), session_ids)}
