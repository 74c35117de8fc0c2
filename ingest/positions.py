"""How far a source has read, kept in Kafka: a position commits in the same transaction as the rows before it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ingest.committed import ANSWER_S, committed_records
from ingest.producer import refuse_without_kafka, unreachable
from lakehouse.kafka_access import for_librdkafka
from lakehouse.settings import Settings

POSITIONS_TOPIC = "ingest-positions"


@dataclass(frozen=True)
class Position:
    """Where the next row begins. One record per source in the topic: files are read one after the other.

    :param number: of the file; those with lower ones are done with.
    :param size: of the file in bytes, and `mtime_ns` when it was changed last, as its reading began.
    :param rows: sent of it so far.
    :param done: all of it has been sent.
    """

    number: int = 0
    size: int = 0
    mtime_ns: int = 0
    byte: int = 0
    line: int = 1
    rows: int = 0
    done: bool = True

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def read_position(settings: Settings, source: str) -> Position:
    """The committed position of a source; before every file when it has none. Makes the topic if there is none.

    :raises ServiceError: Kafka does not answer.
    """
    _make_topic(settings)
    position = Position()
    for record in committed_records(settings, POSITIONS_TOPIC, partitions=1):
        if record.key() == source.encode():
            position = Position(**json.loads(record.value() or b"{}"))
    return position


def _make_topic(settings: Settings) -> None:
    refuse_without_kafka(settings)
    topic = NewTopic(POSITIONS_TOPIC, 1, config={"cleanup.policy": "compact"})
    client: dict[str, Any] = for_librdkafka(settings) | {"log_level": 0, "error_cb": lambda error: None}
    admin = AdminClient(client)  # held: without it the answer is thrown away
    try:
        made = admin.create_topics([topic], request_timeout=ANSWER_S)
        made[POSITIONS_TOPIC].result(ANSWER_S)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise unreachable(settings, error.args[0].str()) from None
