"""How far each file has been fed, kept in Kafka: a position commits in the same transaction as the rows before it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ingest.producer import bootstrap_of, unreachable
from lakehouse.errors import InputError
from lakehouse.settings import Settings

POSITIONS_TOPIC = "ingest-positions"
HASHED_BYTES = 65_536
ANSWER_S = 15.0


@dataclass(frozen=True)
class Position:
    """Where the next row of a file begins. One record per file in the topic, keyed by the file.

    :param pass_number: from 1; a file that is fed again is in its next pass.
    :param done: the file has been read to its end in this pass.
    """

    pass_number: int = 1
    byte: int = 0
    line: int = 1
    done: bool = False

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()


@dataclass(frozen=True)
class Plan:
    """What a feed has to do: the files of this pass that are not finished, in order, and where each goes on."""

    pass_number: int
    todo: tuple[tuple[Path, str, Position], ...]
    resumed: bool

    def __str__(self) -> str:
        path, _, position = self.todo[0]
        return f"resumed at {path} line {position.line}" if self.resumed else f"pass {self.pass_number}"


def file_id(path: Path) -> str:
    """The same for the same file wherever its folder is: name, size in bytes, and a hash of its first 64 KiB."""
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256(file.read(HASHED_BYTES)).hexdigest()[:16]
        return f"{path.name}|{path.stat().st_size}|{digest}"
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}.", "a CSV file that can be read", "correct the path") from None


def file_ids(files: Iterable[Path]) -> dict[str, Path]:
    """The files by their ids, in order.

    :raises InputError: no files, one that cannot be read, or one given twice.
    """
    ids: dict[str, Path] = {}
    for path in files:
        name = file_id(path)
        if name in ids:
            raise InputError(
                f"{path} is the same file as {ids[name]}.", "each file once", "leave one out; feed again later"
            )
        ids[name] = path
    if not ids:
        raise InputError("No files to feed.", "one CSV file or more", "name them")
    return ids


def plan(ids: Mapping[str, Path], known: Mapping[str, Position]) -> Plan:
    """Go on with the newest pass; when all its files are done, begin the next."""
    seen = {name: known[name] for name in ids if name in known}
    number = max((position.pass_number for position in seen.values()), default=1)
    fresh = Position(number)
    todo = [(path, name, seen.get(name, fresh)) for name, path in ids.items()]
    todo = [(p, n, at if at.pass_number == number else fresh) for p, n, at in todo]
    left = tuple((p, n, at) for p, n, at in todo if not at.done)
    if left:
        return Plan(number, left, resumed=bool(seen))
    return Plan(number + 1, tuple((p, n, Position(number + 1)) for p, n, _ in todo), resumed=False)


def read_positions(settings: Settings) -> dict[str, Position]:
    """The committed position of every file ever fed, by its id. Makes the topic if there is none.

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
        positions: dict[str, Position] = {}
        while True:
            message = consumer.poll(ANSWER_S)
            if message is None:
                raise unreachable(bootstrap, f"no position in {ANSWER_S:.0f} s")
            error = message.error()
            if error is None:
                positions[(message.key() or b"").decode()] = Position(**json.loads(message.value() or b"{}"))
            elif error.code() == KafkaError._PARTITION_EOF:
                return positions
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
