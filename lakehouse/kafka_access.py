"""How each kind of client is told where Kafka is, whom to trust there, and who we are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from lakehouse.settings import Settings

_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"


def for_librdkafka(settings: Settings) -> dict[str, Any]:
    """Of confluent-kafka's clients."""
    config: dict[str, Any] = {"bootstrap.servers": settings.kafka_bootstrap}
    if settings.kafka_security_protocol == "PLAINTEXT":
        return config
    config["security.protocol"] = settings.kafka_security_protocol
    if settings.kafka_has_login:
        config |= {
            "sasl.mechanism": settings.kafka_sasl_mechanism,
            "sasl.username": settings.kafka_user,
            "sasl.password": settings.kafka_password.get_secret_value(),
        }
    if settings.kafka_ca_file:
        config["ssl.ca.location"] = settings.kafka_ca_file
    return config


def for_kafka_python(settings: Settings) -> dict[str, Any]:
    """Of kafka-python's clients, as keyword arguments."""
    config: dict[str, Any] = {"bootstrap_servers": settings.kafka_bootstrap.split(",")}
    if settings.kafka_security_protocol == "PLAINTEXT":
        return config
    config["security_protocol"] = settings.kafka_security_protocol
    if settings.kafka_has_login:
        config |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_user,
            "sasl_plain_password": settings.kafka_password.get_secret_value(),
        }
    if settings.kafka_ca_file:
        config["ssl_cafile"] = settings.kafka_ca_file
    return config


def for_java(settings: Settings) -> dict[str, str]:
    """Of Kafka's own clients, such as Spark's executors: nothing in it is a path on this machine."""
    config = {"bootstrap.servers": settings.kafka_bootstrap}
    if settings.kafka_security_protocol == "PLAINTEXT":
        return config
    config["security.protocol"] = settings.kafka_security_protocol
    if settings.kafka_has_login:
        module = _PLAIN if settings.kafka_sasl_mechanism == "PLAIN" else _SCRAM
        user, password = map(_quoted, (settings.kafka_user, settings.kafka_password.get_secret_value()))
        config["sasl.mechanism"] = settings.kafka_sasl_mechanism
        config["sasl.jaas.config"] = f"{module} required username={user} password={password};"
    if settings.kafka_ca_file:
        config["ssl.truststore.type"] = "PEM"
        config["ssl.truststore.certificates"] = Path(settings.kafka_ca_file).read_text(encoding="ascii")
    return config


def for_spark(settings: Settings) -> dict[str, str]:
    """Of Spark's Kafka source and sink, as options."""
    return {f"kafka.{name}": value for name, value in for_java(settings).items()}


def what_may_be_wrong(settings: Settings) -> str:
    """The settings to look at when Kafka does not let us in, for an error's last words."""
    names = ["BOOTSTRAP"]
    if settings.kafka_has_login:
        names += ["USER", "PASSWORD"]
    if settings.kafka_security_protocol.endswith("SSL"):
        names.append("CA_FILE")
    *others, last = (f"LAKEHOUSE_KAFKA_{name}" for name in names)
    return f"{', '.join(others)} or {last}" if others else last


def _quoted(text: str) -> str:
    """As a line of JAAS has it."""
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
