"""What Kafka holds of the topics that bronze reads: every committed record, as a digest."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pyarrow as pa
from confluent_kafka import Consumer, KafkaException, TopicPartition

from lakehouse.errors import ServiceError
from lakehouse.kafka_access import for_librdkafka
from lakehouse.offsets import TopicIds, held_offsets
from lakehouse.reading import Reading
from lakehouse.settings import Settings

_CHUNK = 200_000
_TIMEOUT_S = 20.0


def held_records(settings: Settings, reading: Reading) -> Iterator[pa.Table]:
    """The committed records that Kafka still holds of those that bronze has read, in chunks.

    Out: Arrow tables, a row per record: topic, partition, offset as bronze counts, digest (MD5 of the value in hex;
    null for no value).

    :raises ServiceError: Kafka does not answer.
    :raises DataLossError: Kafka has made a topic anew, and not all of it is known to be read.
    """
    held = held_offsets(settings)
    reading.start(held, TopicIds(settings).now(_TIMEOUT_S))
    ends = {(topic, int(at)): end for topic in held.first for at, end in reading.in_kafka(topic).items()}
    places = [
        TopicPartition(topic, partition, first)
        for (topic, partition), end in ends.items()
        if (first := held.first[topic].get(str(partition), end)) < end
    ]
    if places:
        with reader_at(settings, places) as consumer:
            for chunk in _read(consumer, ends, {(place.topic, place.partition) for place in places}):
                yield _as_bronze_counts(chunk, reading)


@contextmanager
def reader_at(settings: Settings, places: list[TopicPartition]) -> Iterator[Consumer]:
    """Reads committed records from these offsets on, is told where a partition ends, and leaves no trace in Kafka.

    :raises ServiceError: Kafka does not answer.
    """
    consumer = Consumer(
        {
            **for_librdkafka(settings),
            "group.id": "lakehouse-audit",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    try:
        consumer.assign(places)
        yield consumer
    except KafkaException as error:
        raise ServiceError(
            f"Kafka at {settings.kafka_bootstrap!r} does not answer: {error.args[0].str()}",
            "the broker that bronze reads from",
            "start it (`lakehouse up`), then audit again",
        ) from None
    finally:
        consumer.close()


def _read(
    consumer: Consumer, ends: Mapping[tuple[str, int], int], open_places: set[tuple[str, int]]
) -> Iterator[pa.Table]:
    rows: list[tuple[str, int, int, str | None]] = []
    heard_at = time.monotonic()
    while open_places:
        records = consumer.consume(10_000, timeout=0.2)
        if records:
            heard_at = time.monotonic()
        elif time.monotonic() - heard_at > _TIMEOUT_S:
            raise ServiceError(f"Kafka sent nothing for {_TIMEOUT_S:.0f} s.", "records", "audit again")
        for record in records:
            place = (str(record.topic()), int(record.partition() or 0))
            offset, value = int(record.offset() or 0), record.value()
            if record.error() or offset >= ends[place]:
                open_places.discard(place)
                continue
            rows.append((*place, offset, None if value is None else hashlib.md5(value).hexdigest()))
            if offset == ends[place] - 1:
                open_places.discard(place)
        if len(rows) >= _CHUNK:
            yield _table(rows)
            rows = []
    if rows:
        yield _table(rows)


def _as_bronze_counts(chunk: pa.Table, reading: Reading) -> pa.Table:
    if not reading.shift:
        return chunk
    places = zip(*(chunk[name].to_pylist() for name in ("topic", "partition", "offset")), strict=True)
    offsets = [offset + reading.shift_of(topic, str(partition)) for topic, partition, offset in places]
    return chunk.set_column(2, "offset", pa.array(offsets, pa.int64()))


def _table(rows: list[tuple[str, int, int, str | None]]) -> pa.Table:
    topic, partition, offset, digest = zip(*rows, strict=True)
    return pa.table(
        {
            "topic": pa.array(topic, pa.string()),
            "partition": pa.array(partition, pa.int32()),
            "offset": pa.array(offset, pa.int64()),
            "digest": pa.array(digest, pa.string()),
        }
    )
