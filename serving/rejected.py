"""Records of gold's topics that are no rows of gold: where the sink puts them, and how many it keeps."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from confluent_kafka import Message
from psycopg import Connection

log = logging.getLogger("lakehouse")

MOST_ROWS, MOST_KEY_BYTES, MOST_VALUE_BYTES = 1000, 1000, 10_000
"""Kept of all, of a key, of a value: whoever can write to a topic must not be able to fill the store's disk, or a log.
Kafka has the rest at the place that is kept.
"""

Refused = tuple[Message, str]
"""A record, and why, without any of its values."""


def set_aside(connection: Connection[Any], refused: Sequence[Refused]) -> None:
    """The newest of these, in the caller's transaction; the oldest go. The log has one line, whatever their number."""
    if not refused:
        return
    message, reason = refused[0]
    place = f"{message.topic()}[{message.partition()}]@{message.offset()}"
    said = "%d records are no rows of gold, and are set aside in sink.rejected; the first is %s: %s"
    log.warning(f"sink: {said}", len(refused), place, reason)
    with connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO sink.rejected (topic, "partition", "offset", key, value, reason)
               VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING""",
            [
                (each.topic(), each.partition(), each.offset(), *_kept(each), reason)
                for each, reason in refused[-MOST_ROWS:]
            ],
        )
    connection.execute(
        """DELETE FROM sink.rejected WHERE ctid IN (
               SELECT ctid FROM sink.rejected ORDER BY rejected_at DESC, "offset" DESC OFFSET %s)""",
        [MOST_ROWS],
    )


def _kept(message: Message) -> tuple[bytes | None, bytes | None]:
    key, value = message.key(), message.value()
    return key and key[:MOST_KEY_BYTES], value and value[:MOST_VALUE_BYTES]
