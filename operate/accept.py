"""`lakehouse topics`: makes those that are missing. With `--accept REASON` it goes on where Kafka no longer has what
bronze would read next, and keeps why.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import typer
from pyspark.sql import SparkSession

from lakehouse import commits
from lakehouse.command import AsJson
from lakehouse.offsets import TopicIds, held_offsets
from lakehouse.reading import Reading
from lakehouse.session import spark_session
from lakehouse.settings import Settings
from lakehouse.tables import BRONZE_EVENTS
from operate.pause import writers_paused
from operate.services.topics import ensure_topics
from operate.stack import known_kafka, services_at_hand

Say = Callable[[str], None]


def topics(
    settings: Settings,
    show: Say,
    say: Say,
    connect_user: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="let this user, Kafka Connect's, write events and use what is its own; for a Kafka with an authorizer",
        ),
    ] = "",
    reason: Annotated[
        str | None,
        typer.Option(
            "--accept",
            metavar="REASON",
            help="go on though Kafka lost what bronze would read next, or has a topic anew; bronze keeps the reason",
        ),
    ] = None,
    as_json: AsJson = False,
) -> int:
    if reason is None:
        differences = ensure_topics(known_kafka(settings), connect_user=connect_user)
        for line in [json.dumps({"differences": differences})] if as_json else differences:
            show(line)
        return 0
    with services_at_hand(settings, say) as reachable, spark_session("storefront accept", reachable) as spark:
        lost = accept(spark, reachable, reason, say)
    told = [f"accepted: {line}" for line in lost]
    nothing = "Kafka has all that bronze would read next; there is nothing to accept"
    for line in [json.dumps({"accepted": lost})] if as_json else told or [nothing]:
        show(line)
    return 0


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
