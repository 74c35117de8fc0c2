"""Gold's topics -> PostgreSQL: each record once, the newest revision of each key, whatever dies on the way.

The offsets are in the same transaction as the rows. Many instances share the topics' partitions as one consumer group.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from psycopg import sql

from lakehouse.errors import LakehouseError, ServiceError, SettingError
from lakehouse.kafka_access import for_librdkafka
from lakehouse.settings import Settings, load_settings
from lakehouse.streams import Stop
from lakehouse.tables import PUBLISHED, Table
from lakehouse.visible import log_visibly
from serving.merge import Incoming, Place, RecordReader, UnreadableRecord, merge, newest_of_each_key
from serving.notice import CHANNEL, notice_text
from serving.rejected import Refused, set_aside
from serving.server import connect, without_values
from serving.state import State
from serving.store import identifier, prepare_store

log = logging.getLogger("lakehouse")

_BATCH, _LOOK_S, _LOOK_AT_STORE_S = 5000, 0.5, 2.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
_OUTAGES = (psycopg.Error, ServiceError, KafkaException)
"""Each ends by itself or by somebody's hand: a server that is back, a disk with room, a right that is granted."""

_BAD_DATA = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded)
"""To try again cannot help: a record is at fault."""


class Overtaken(Exception):
    """What this instance believes of a partition is not so any more: begin again from what the store says."""


class Sink:
    """One instance."""

    def __init__(self, settings: Settings, state: State) -> None:
        self._settings, self._state = settings, state
        self._tables: dict[str, Table] = {table.topic(settings): table for table in PUBLISHED}

    def run(self, stop: Stop) -> None:
        """Serves until told to stop. While PostgreSQL or Kafka is away it waits, and says so."""
        pause_s = _FIRST_PAUSE_S
        while not stop.is_set():
            began_s = time.monotonic()
            try:
                with self._store() as connection, self._consumer() as consumer:
                    _Session(connection, consumer, self._settings, self._tables, self._state).run(stop)
            except Overtaken as error:
                log.info("sink: %s", error)
            except _OUTAGES as error:
                reason = str(error) if isinstance(error, KafkaException) else without_values(error)
                log.warning("sink: waiting for %s: %s", _who(error), reason)
                self._state.waiting(_who(error), reason)
                pause_s = _FIRST_PAUSE_S if time.monotonic() - began_s > 60 else min(pause_s * 2, _LONGEST_PAUSE_S)
                stop.wait(pause_s)
        self._state.stopped()

    @contextmanager
    def _store(self) -> Iterator[psycopg.Connection[Any]]:
        with connect(self._settings.postgres_dsn.get_secret_value(), "sink") as connection:
            prepare_store(connection, self._settings.bi_password.get_secret_value())
            self._same_topics(connection)
            yield connection

    def _same_topics(self, connection: psycopg.Connection[Any]) -> None:
        """A topic that was made anew starts anew here too: what it had is not in it any more."""
        admin = AdminClient(for_librdkafka(self._settings) | {"log_level": 0})
        described = admin.describe_topics(TopicCollection(list(self._tables)), request_timeout=10)
        for topic, future in described.items():
            topic_id = str(future.result().topic_id)
            with connection.transaction():
                connection.execute("INSERT INTO sink.topics VALUES (%s, %s) ON CONFLICT DO NOTHING", [topic, topic_id])
                known = connection.execute("SELECT topic_id FROM sink.topics WHERE topic = %s FOR UPDATE", [topic])
                if (known.fetchone() or ("",))[0] == topic_id:
                    continue
                log.warning("sink: the topic %s was made anew; its table is filled again from its beginning", topic)
                connection.execute("SET LOCAL lock_timeout = '5s'")  # someone may be reading it for long
                connection.execute(sql.SQL("TRUNCATE {}").format(identifier(self._tables[topic])))
                for kept in ("offsets", "withdrawn", "rejected"):
                    table = sql.Identifier("sink", kept)
                    connection.execute(sql.SQL("DELETE FROM {} WHERE topic = %s").format(table), [topic])
                connection.execute("UPDATE sink.topics SET topic_id = %s WHERE topic = %s", [topic_id, topic])
                _tell(connection, {self._tables[topic].name: []})

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        consumer = Consumer(
            {
                **for_librdkafka(self._settings),
                "group.id": f"{self._settings.gold_topic_prefix}lakehouse-sink",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 20,
                "session.timeout.ms": 10_000,
                "log_level": 3,
            }
        )
        try:
            yield consumer
        finally:
            consumer.close()


class _Session:
    """From a connection to its loss."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        consumer: Consumer,
        settings: Settings,
        tables: dict[str, Table],
        state: State,
    ) -> None:
        self._connection, self._consumer, self._tables, self._state = connection, consumer, tables, state
        self._readers = {topic: RecordReader(table) for topic, table in tables.items()}
        self._next: dict[Place, int] = {}
        self._asked_s = time.monotonic()
        consumer.subscribe(list(tables), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)

    def run(self, stop: Stop) -> None:
        while not stop.is_set():
            first = self._consumer.poll(_LOOK_S)
            more = [] if first is None else self._consumer.consume(_BATCH - 1, timeout=0)
            self._take([] if first is None else [first, *more])
            self._look_at_the_store()
            self._state.serving(self._lag())

    def _look_at_the_store(self) -> None:
        """Without records nothing else would tell that it is away."""
        if time.monotonic() - self._asked_s > _LOOK_AT_STORE_S:
            self._connection.execute("SELECT 1")
            self._asked_s = time.monotonic()

    def _assigned(self, consumer: Consumer, places: list[TopicPartition]) -> None:
        """Goes on where the store is, whatever the group's offsets say."""
        with self._connection.transaction():
            for place in places:
                self._connection.execute(
                    "INSERT INTO sink.offsets VALUES (%s, %s, 0) ON CONFLICT DO NOTHING", [place.topic, place.partition]
                )
                found = self._connection.execute(
                    'SELECT next_offset FROM sink.offsets WHERE topic = %s AND "partition" = %s',
                    [place.topic, place.partition],
                ).fetchone()
                place.offset = found[0] if found else 0
                self._next[place.topic, place.partition] = place.offset
        consumer.assign(places)

    def _revoked(self, _consumer: Consumer, places: list[TopicPartition]) -> None:
        for place in places:
            self._next.pop((place.topic, place.partition), None)

    def _take(self, messages: list[Message]) -> None:
        ends: dict[Place, int] = {}
        records: list[Incoming] = []
        refused: list[Refused] = []
        for message in messages:
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._ALL_BROKERS_DOWN or error.fatal():
                    raise KafkaException(error)
                continue  # librdkafka tries again by itself
            place = (str(message.topic()), int(message.partition() or 0))
            offset = int(message.offset() or 0)
            if place not in self._next:
                continue
            if offset < self._next[place]:
                raise Overtaken(f"{place[0]}[{place[1]}] begins again at {offset}; looking at the topic anew")
            ends[place] = offset + 1
            try:
                read = self._readers[place[0]].read
                headers = dict(message.headers() or ())
                records.append(read(place, offset, message.key(), message.value(), headers))
            except UnreadableRecord as wrong:
                refused.append((message, str(wrong)))
            except Exception as wrong:  # of the client: a header's name that is no text
                refused.append((message, f"it cannot be read ({type(wrong).__name__})"))
        if not ends:
            return
        try:
            self._store(records, refused, ends)
        except _BAD_DATA:
            self._store_one_by_one(
                {(m.topic(), m.partition(), m.offset()): m for m in messages}, records, refused, ends
            )
        self._next |= ends
        self._state.served(records, time.time())

    def _store(self, records: list[Incoming], refused: list[Refused], ends: dict[Place, int]) -> None:
        by_topic: dict[str, list[Incoming]] = defaultdict(list)
        for record in records:
            by_topic[record.place[0]].append(record)
        with self._connection.transaction():
            for topic, ours in by_topic.items():
                merge(self._connection, self._tables[topic], newest_of_each_key(ours), topic)
            set_aside(self._connection, refused)
            self._move(ends)
            _tell(self._connection, {self._tables[topic].name: ours for topic, ours in by_topic.items()})

    def _store_one_by_one(
        self,
        messages: dict[tuple[Any, Any, Any], Message],
        records: list[Incoming],
        refused: list[Refused],
        ends: dict[Place, int],
    ) -> None:
        """Some record keeps its contract and yet is no row for PostgreSQL. It is set aside, and the others go on."""
        stored: dict[str, list[Incoming]] = defaultdict(list)
        with self._connection.transaction():
            for record in records:
                table = self._tables[record.place[0]]
                try:
                    with self._connection.transaction():
                        merge(self._connection, table, [record], record.place[0])
                    stored[table.name].append(record)
                except _BAD_DATA as error:
                    refused.append((messages[*record.place, record.offset], without_values(error)))
            set_aside(self._connection, refused)
            self._move(ends)
            _tell(self._connection, stored)

    def _move(self, ends: dict[Place, int]) -> None:
        """:raises Overtaken: the store is not where this instance left it."""
        for (topic, partition), end in sorted(ends.items()):
            moved = self._connection.execute(
                'UPDATE sink.offsets SET next_offset = %s WHERE topic = %s AND "partition" = %s AND next_offset = %s',
                [end, topic, partition, self._next[topic, partition]],
            )
            if moved.rowcount != 1:
                raise Overtaken(f"another instance has gone on with {topic}[{partition}]; joining again")

    def _lag(self) -> int | None:
        """Records of our partitions that are not stored yet, as far as the client knows without asking."""
        lag = 0
        for (topic, partition), offset in self._next.items():
            _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
            lag += max(0, end - offset) if end >= 0 else 0
        return lag if self._next else None


def _tell(connection: psycopg.Connection[Any], records: dict[str, list[Incoming]]) -> None:
    """In the batch's transaction: who listens is told when, and only if, it is stored."""
    if records:
        text = notice_text(records, round(time.time() * 1000))
        # Whoever fills the queue, and anybody may, holds up notices and not rows: who listens also looks by itself.
        connection.execute("SELECT pg_notify(%s, %s) WHERE pg_notification_queue_usage() < 0.5", [CHANNEL, text])


def _who(error: Exception) -> str:
    return "Kafka" if isinstance(error, KafkaException) else "PostgreSQL"


def main() -> int:
    parser = argparse.ArgumentParser(prog="serving/sink.py", description="Serve gold's topics from PostgreSQL.")
    parser.add_argument("--name", default="1", help="of this instance, where there are several (1)")
    name = parser.parse_args().name
    log_visibly()
    stop = Stop().listen()
    try:
        settings = load_settings()
        if not settings.postgres_dsn.get_secret_value():
            raise SettingError(
                "LAKEHOUSE_POSTGRES_DSN is empty.",
                "how to connect to the server that serves gold",
                "name one, or use `lakehouse up`, which runs a server and the sink",
            )
        Sink(settings, State(settings, name)).run(stop)
    except LakehouseError as error:
        log.error("sink: %s", error)
        return 1
    log.info("sink: stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
