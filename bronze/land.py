"""The step of the bronze layer: Kafka records into bronze.events, each exactly once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bronze.source import starting_offsets, wait_for_topics
from lakehouse import commits
from lakehouse.framing import is_framed, schema_id
from lakehouse.offsets import Offsets
from lakehouse.settings import Settings
from lakehouse.tables import BRONZE_EVENTS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Counts = Mapping[tuple[str, int], int]
"""(topic, partition) -> records of a batch."""


class Landing:
    """Writes batches to bronze.events, and knows how far it has read.

    Making one finds the place to go on.

    :raises DataLossError: Kafka no longer holds that place.
    """

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._settings = settings
        commits.create_tables(spark, (BRONZE_EVENTS,), settings)
        note = commits.last_note(spark, BRONZE_EVENTS, settings)
        read = {
            topic: {partition: span["to"] for partition, span in spans.items()}
            for topic, spans in note.get("position", {}).items()
        }
        self.read: Offsets = starting_offsets(read, wait_for_topics(settings))
        self._ingested_at_us: int = note.get("ingested_at_us", 0)

    def after_all_before(self, now: datetime) -> datetime:
        """The time for the rows of the next commit: later than those of all before it, whatever the clock does.

        Of several records with one id the first is the event; by this time the order of commits is in the rows.
        """
        last = _EPOCH + timedelta(microseconds=self._ingested_at_us)
        at = max(now, last + timedelta(microseconds=1))
        self._ingested_at_us = (at - _EPOCH) // timedelta(microseconds=1)
        return at

    def land(self, rows: DataFrame, end: Offsets, counts: Counts) -> int:
        """Appends bronze rows, all that lie before the offsets `end`, in one commit. Out: its version.

        The commit's note has, for each partition, where the batch began (`from`), where it ended (`to`, excluded) and
        how many rows it has: fewer than the offsets between where transactions have taken offsets too.
        """
        position = {
            topic: {
                partition: {
                    "from": self.read.get(topic, {}).get(partition, 0),
                    "to": to,
                    "rows": counts.get((topic, int(partition)), 0),
                }
                for partition, to in partitions.items()
            }
            for topic, partitions in end.items()
        }
        note = {"position": position, "ingested_at_us": self._ingested_at_us}
        # One file a commit: the next layer then reads whole commits, and small files stay few.
        columns = rows.select(*BRONZE_EVENTS.schema.fieldNames()).coalesce(1)
        version = commits.append(columns, BRONZE_EVENTS, self._settings, note)
        self.read = end
        return version


def count_by_partition(rows: DataFrame, settings: Settings) -> tuple[Counts, set[int]]:
    """In: bronze rows. Out: how many there are, and the ids of the schemas of those that are Avro."""
    ids = F.collect_set(F.when(is_framed(settings.unreadable_topic), schema_id()))
    found = rows.groupBy("topic", "partition").agg(F.count("*").alias("rows"), ids.alias("schema_ids")).collect()
    counts = {(row["topic"], row["partition"]): row["rows"] for row in found}
    return counts, {each for row in found for each in row["schema_ids"]}
