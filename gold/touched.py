"""Carts that were touched by events which silver.sessions has not read yet."""

from __future__ import annotations

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse import commits
from lakehouse.event_contract import VIEW
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_EVENTS
from lakehouse.values import frame_of_table


class Touched:
    """Remembers them from round to round, so that each event is read once while sessions are behind."""

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._spark, self._settings = spark, settings
        self._since, self._upto = -1, -1
        self._found: pa.Table | None = None

    def beyond(self, read_version: int, upto: int) -> DataFrame:
        """In: the versions of silver.events up to which sessions have read, and up to which there are events. Out: one
        row per user and session (`who`, `which`, empty of a user's events without one) with an event between them that
        changes a cart: `touched_at`, the time of the first.
        """
        if self._since != read_version or self._found is None:
            self._since = self._upto = read_version
            self._found = self._first(read_version, read_version)
        if upto > self._upto:
            both = pa.concat_tables([self._found, self._first(self._upto, upto)])
            firsts = both.group_by(["who", "which"]).aggregate([("touched_at", "min")])
            self._found, self._upto = firsts.rename_columns(["who", "which", "touched_at"]), upto
        return frame_of_table(self._spark, self._found)

    def _first(self, after: int, upto: int) -> pa.Table:
        events, _ = commits.added_rows(self._spark, SILVER_EVENTS, self._settings, after, upto)
        one = (F.col("user_id").alias("who"), F.coalesce("user_session", F.lit("")).alias("which"))
        changes = events.where(F.col("event_type") != VIEW)
        return changes.groupBy(*one).agg(F.min("event_at").alias("touched_at")).toArrow()
