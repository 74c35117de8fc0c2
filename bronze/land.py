"""The step of the bronze layer: Kafka records into bronze.events, each exactly once."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import DataFrame, SparkSession

from bronze.source import Offsets, starting_offsets, wait_for_topics
from lakehouse import commits
from lakehouse.settings import Settings
from lakehouse.tables import BRONZE_EVENTS

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
        # One file a commit: the next layer then reads whole commits, and small files stay few.
        columns = rows.select(*BRONZE_EVENTS.schema.fieldNames()).coalesce(1)
        version = commits.append(columns, BRONZE_EVENTS, self._settings, {"position": position})
        self.read = end
        return version


def count_by_partition(rows: DataFrame) -> dict[tuple[str, int], int]:
    counts = rows.groupBy("topic", "partition").count().collect()
    return {(row["topic"], row["partition"]): row["count"] for row in counts}
