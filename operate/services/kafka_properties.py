"""server.properties of the embedded broker, and the sizes that it shares with the topics."""

from __future__ import annotations

import struct
from pathlib import Path

from lakehouse.kafka_access import jaas
from lakehouse.settings import Settings
from operate.services.ports import LOOPBACK

MAX_RECORD_BYTES = 8 * 1024 * 1024
MAX_BATCH_BYTES = MAX_RECORD_BYTES + 64 * 1024  # room for the key, the headers and the batch's own head
DAY_MS = 86_400_000
USER = "lakehouse"
"""Who we are at the embedded broker. Nobody else has rights there."""


def retention_ms(settings: Settings) -> int:
    return settings.kafka_retention_s * 1000


def segment_ms(settings: Settings) -> int:
    """Only whole segments expire, so a segment spans at most a tenth of the retention."""
    return max(10_000, min(DAY_MS, retention_ms(settings) // 10))


def server_properties(
    settings: Settings, data: Path, client: int, controller: int, password: str, mechanism: str = "SCRAM-SHA-512"
) -> str:
    """The text of the file. One node, little memory, no topic made by a misspelt name.

    :param password: with which clients log in as `USER`.
    :param mechanism: how they do; with PLAIN the password here is believed, else the one that Kafka has stored.
    """
    by_plain = jaas("PLAIN", USER, password, f'user_{USER}="{password}"')
    by_client = by_plain if mechanism == "PLAIN" else jaas(mechanism, USER, password)
    values = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "listeners": f"CLIENT://{LOOPBACK}:{client},CONTROLLER://{LOOPBACK}:{controller}",
        "advertised.listeners": f"CLIENT://{LOOPBACK}:{client}",
        # With SCRAM whoever listens on our port while we are down learns nothing. A controller does not know it; there
        # the broker speaks with itself.
        "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
        "listener.name.client.sasl.enabled.mechanisms": mechanism,
        f"listener.name.client.{mechanism.lower()}.sasl.jaas.config": by_client,
        "sasl.mechanism.inter.broker.protocol": mechanism,
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.controller.plain.sasl.jaas.config": by_plain,
        "sasl.mechanism.controller.protocol": "PLAIN",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{USER}",
        "inter.broker.listener.name": "CLIENT",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.bootstrap.servers": f"{LOOPBACK}:{controller}",
        "log.dirs": data,
        "num.partitions": settings.topic_partitions,
        "auto.create.topics.enable": "false",
        "message.max.bytes": MAX_BATCH_BYTES,
        "replica.fetch.max.bytes": MAX_BATCH_BYTES,
        "socket.request.max.bytes": 6 * MAX_BATCH_BYTES,  # a request carries a batch for each of several partitions
        "log.retention.ms": retention_ms(settings),
        "log.roll.ms": segment_ms(settings),
        "log.retention.check.interval.ms": min(300_000, segment_ms(settings)),
        "log.segment.bytes": 64 * 1024 * 1024,
        "log.index.size.max.bytes": 2 * 1024 * 1024,
        "log.cleaner.threads": 1,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        "log.cleaner.io.buffer.size": 256 * 1024,
        # One node: the internal topics have one copy, and few partitions since each is files and threads' work.
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
        # After a kill the controller refuses the new broker until the old one's session has ended: 9 s by default.
        "broker.session.timeout.ms": 4000,
        "broker.heartbeat.interval.ms": 1000,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
    }
    return "".join(f"{name}={_escaped(str(value))}\n" for name, value in values.items())


def _escaped(value: str) -> str:
    """As Java reads it: in Latin-1, and a backslash is the beginning of an escape."""
    units = struct.unpack(f">{len(value.encode('utf-16-be')) // 2}H", value.encode("utf-16-be"))
    return "".join(chr(unit) if 32 <= unit < 127 and unit != 92 else f"\\u{unit:04x}" for unit in units)
