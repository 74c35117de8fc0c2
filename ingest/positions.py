"""How far a source has read, kept in Kafka: a position commits in the same transaction as the rows before it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ingest.producer import bootstrap_of, unreachable
from lakehouse.settings import Settings

POSITIONS_TOPIC = "ingest-positions"
ANSWER_S = 15.0


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
    bootstrap = bootstrap_of(settings)
    quiet: dict[str, Any] = {"bootstrap.servers": bootstrap, "log_level": 0, "error_cb": lambda error: None}
    consumer = Consumer(
        quiet
        | {
            "group.id": POSITIONS_TOPIC,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,  # else the broker waits half a second before it says that this is the end
        }
    )
    try:
        _make_topic(quiet)
        consumer.assign([TopicPartition(POSITIONS_TOPIC, 0, 0)])
        position = Position()
        while True:
            message = consumer.poll(ANSWER_S)
            if message is None:
                raise unreachable(bootstrap, f"no position in {ANSWER_S:.0f} s")
            error = message.error()
            if error is None:
                if message.key() == source.encode():
                    position = Position(**json.loads(message.value() or b"{}"))
            elif error.code() == KafkaError._PARTITION_EOF:
                return position
            elif error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:  # a new topic is known everywhere a moment later
                raise unreachable(bootstrap, error.str())
    except KafkaException as error:
        raise unreachable(bootstrap, error.args[0].str()) from None
    finally:
        consumer.close()


def _make_topic(client: dict[str, Any]) -> None:
    topic = NewTopic(POSITIONS_TOPIC, 1, config={"cleanup.policy": "compact"})
    admin = AdminClient(client)  # held: without it the answer is thrown away
    made = admin.create_topics([topic], request_timeout=ANSWER_S)
    try:
        made[POSITIONS_TOPIC].result(ANSWER_S)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
