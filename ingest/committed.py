"""What a reader of committed records sees of a topic."""

from __future__ import annotations

from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ingest.producer import refuse_without_kafka, unreachable
from lakehouse.kafka_access import for_librdkafka
from lakehouse.settings import Settings

ANSWER_S = 15.0


def committed_records(settings: Settings, topic: str, partitions: int) -> Iterator[Message]:
    """All records of a topic from its first one to its end; those of one partition in their order.

    :raises ServiceError: Kafka does not answer.
    """
    refuse_without_kafka(settings)
    consumer = Consumer(
        {
            **for_librdkafka(settings),
            "group.id": "lakehouse-committed",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,  # else the broker waits half a second before it says that this is the end
            "log_level": 0,
            "error_cb": lambda error: None,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
        ends = 0
        while ends < partitions:
            message = consumer.poll(ANSWER_S)
            if message is None:
                raise unreachable(settings, f"nothing of {topic} in {ANSWER_S:.0f} s")
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                ends += 1
            elif error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:  # a new topic is known everywhere a moment later
                raise unreachable(settings, error.str())
    except KafkaException as error:
        raise unreachable(settings, error.args[0].str()) from None
    finally:
        consumer.close()
