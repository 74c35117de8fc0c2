"""How each kind of client is told where Kafka is, whom to trust there, and who we are."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from lakehouse.settings import Settings

# At each connection without TLS it warns that credentials are sent in the clear: with SCRAM they are not sent at all.
logging.getLogger("kafka.net.sasl.scram").setLevel(logging.ERROR)

_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"
_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"


def for_librdkafka(settings: Settings) -> dict[str, Any]:
    """Of confluent-kafka's clients."""
    names = ("bootstrap.servers", "security.protocol", "ssl.ca.location")
    return _named(settings, names, ("sasl.mechanism", "sasl.username", "sasl.password"))


def for_kafka_python(settings: Settings) -> dict[str, Any]:
    """Of kafka-python's clients, as keyword arguments."""
    names = ("bootstrap_servers", "security_protocol", "ssl_cafile")
    return _named(settings, names, ("sasl_mechanism", "sasl_plain_username", "sasl_plain_password"))


def for_java(settings: Settings) -> dict[str, str]:
    """Of Kafka's own clients, such as Spark's executors: nothing in it is a path on this machine."""
    config = {"bootstrap.servers": settings.kafka_bootstrap}
    if settings.kafka_security_protocol == "PLAINTEXT":
        return config
    config["security.protocol"] = settings.kafka_security_protocol
    if settings.kafka_has_login:
        mechanism, password = settings.kafka_sasl_mechanism, settings.kafka_password.get_secret_value()
        config["sasl.mechanism"] = mechanism
        config["sasl.jaas.config"] = jaas(mechanism, settings.kafka_user, password)
    if settings.kafka_ca_file:
        config["ssl.truststore.type"] = "PEM"
        config["ssl.truststore.certificates"] = Path(settings.kafka_ca_file).read_text(encoding="ascii")
    return config


def for_spark(settings: Settings) -> dict[str, str]:
    """Of Spark's Kafka source and sink, as options."""
    return {f"kafka.{name}": value for name, value in for_java(settings).items()}


def jaas(mechanism: str, user: str, password: str, *options: str) -> str:
    """A login as Java's Kafka has it. :param options: more of the login module's, as it has them."""
    module = _PLAIN if mechanism == "PLAIN" else _SCRAM
    return " ".join((module, "required", f"username={_quoted(user)}", f"password={_quoted(password)}", *options)) + ";"


def what_may_be_wrong(settings: Settings) -> str:
    """The settings to look at when Kafka does not let us in, for an error's last words."""
    names = ["BOOTSTRAP"]
    if settings.kafka_has_login:
        names += ["USER", "PASSWORD"]
    if settings.kafka_security_protocol.endswith("SSL"):
        names.append("CA_FILE")
    *others, last = (f"LAKEHOUSE_KAFKA_{name}" for name in names)
    return f"{', '.join(others)} or {last}" if others else last


def _named(settings: Settings, names: tuple[str, str, str], login: tuple[str, str, str]) -> dict[str, Any]:
    """:param names: what a client calls the brokers, the protocol and the file of authorities.
    :param login: what it calls the mechanism, the user and the password.
    """
    brokers, protocol, authorities = names
    config = {brokers: settings.kafka_bootstrap}
    if settings.kafka_security_protocol == "PLAINTEXT":
        return config
    config[protocol] = settings.kafka_security_protocol
    if settings.kafka_has_login:
        password = settings.kafka_password.get_secret_value()
        config |= dict(zip(login, (settings.kafka_sasl_mechanism, settings.kafka_user, password), strict=True))
    if settings.kafka_ca_file:
        config[authorities] = settings.kafka_ca_file
    return config


def _quoted(text: str) -> str:
    """As a line of JAAS has it."""
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
