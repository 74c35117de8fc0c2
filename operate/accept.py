"""`lakehouse topics --accept REASON`: goes on where Kafka no longer has what bronze would read next, and keeps why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from pyspark.sql import SparkSession

from lakehouse import commits
from lakehouse.offsets import TopicIds, held_offsets
from lakehouse.reading import Reading
from lakehouse.settings import Settings
from lakehouse.tables import BRONZE_EVENTS
from operate.pause import writers_paused

Say = Callable[[str], None]


def accept(spark: SparkSession, settings: Settings, reason: str, say: Say) -> list[str]:
    """Gives up what Kafka has lost, and takes topics that were made anew for what follows; a commit without rows says
    so.

    Out: a line for each loss; none where there is none, and then nothing is written.

    :raises ServiceError: Kafka does not answer.
    :raises LockedError: the writer of bronze does not give way.
    """
    with writers_paused(settings, ("bronze",), "the acceptance of a loss", say):
        note = commits.last_note(spark, BRONZE_EVENTS, settings)
        held, ids = held_offsets(settings), TopicIds(settings).now()
        before = Reading.of_note(note)
        lost = list(before.lost(held, ids).values())
        if lost:
            after = before.accepted(held, ids)
            moved = {
                topic: {
                    at: {"from": before.read[topic][at], "to": to, "rows": 0}
                    for at, to in each.items()
                    if to != before.read[topic][at]
                }
                for topic, each in after.read.items()
            }
            records = sum(span["to"] - span["from"] for spans in moved.values() for span in spans.values())
            at = datetime.now(UTC).isoformat(timespec="seconds")
            accepted = {"at": at, "reason": reason, "lost": lost, "records": records}
            commits.append_nothing(
                spark,
                BRONZE_EVENTS,
                settings,
                note | {"position": moved, "topics": after.as_note(), "accepted": accepted},
            )
        return lost
