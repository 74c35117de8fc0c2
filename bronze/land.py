"""The step of the bronze layer: Kafka records into bronze.events, each exactly once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from bronze.source import wait_for_topics
from lakehouse import commits
from lakehouse.errors import DataLossError
from lakehouse.framing import is_framed, schema_id
from lakehouse.offsets import Offsets, TopicIds
from lakehouse.reading import Reading
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
        held, self._topic_ids = wait_for_topics(settings), TopicIds(settings)
        ids = self._topic_ids.now()
        self._reading = Reading.of_note(note)
        self.start: Offsets = self._reading.start(held, ids)
        self._reading = self._reading.named(ids).up_to(self.start)
        self._ingested_at_us: int = note.get("ingested_at_us", 0)

    @property
    def shift(self) -> Offsets:
        """What bronze adds to Kafka's offsets."""
        return self._reading.shift

    def check_topics(self) -> None:
        """To be asked once a batch is read: an id that is still the same then was so all the time.

        :raises DataLossError: a topic was made anew, so that what was read may not be what comes next.
        """
        for topic in self._reading.lives_end(self._topic_ids.now()):
            raise DataLossError(
                f"The topic {topic} was made anew while bronze read it.",
                "the topic that was read before; nothing of the batch is kept",
                "the next start says more",
            )

    def after_all_before(self, now: datetime) -> datetime:
        """The time for the rows of the next commit: later than those of all before it, whatever the clock does.

        Of several records with one id the first is the event; by this time the order of commits is in the rows.
        """
        last = _EPOCH + timedelta(microseconds=self._ingested_at_us)
        at = max(now, last + timedelta(microseconds=1))
        self._ingested_at_us = (at - _EPOCH) // timedelta(microseconds=1)
        return at

    def land(self, rows: DataFrame, end: Offsets, counts: Counts) -> int:
        """Appends bronze rows, all that lie before the offsets `end` of Kafka, in one commit. Out: its version.

        The commit's note has, for each partition and as bronze counts, where the batch began (`from`), where it ended
        (`to`, excluded) and how many rows it has: fewer than the offsets between where transactions have taken some.
        """
        before, after = self._reading.read, self._reading.up_to(end)
        position = {
            topic: {
                partition: {
                    "from": before[topic].get(partition, 0),
                    "to": after.read[topic][partition],
                    "rows": counts.get((topic, int(partition)), 0),
                }
                for partition in partitions
            }
            for topic, partitions in end.items()
        }
        note = {"position": position, "topics": after.as_note(), "ingested_at_us": self._ingested_at_us}
        # One file a commit: the next layer then reads whole commits, and small files stay few.
        columns = rows.select(*BRONZE_EVENTS.schema.fieldNames()).coalesce(1)
        version = commits.append(columns, BRONZE_EVENTS, self._settings, note)
        self._reading = after
        return version


def count_by_partition(rows: DataFrame, settings: Settings) -> tuple[Counts, set[int]]:
    """In: bronze rows. Out: how many there are, and the ids of the schemas of those that are Avro."""
    ids = F.collect_set(F.when(is_framed(settings.unreadable_topic), schema_id()))
    found = rows.groupBy("topic", "partition").agg(F.count("*").alias("rows"), ids.alias("schema_ids")).collect()
    counts = {(row["topic"], row["partition"]): row["rows"] for row in found}
    return counts, {each for row in found for each in row["schema_ids"]}
