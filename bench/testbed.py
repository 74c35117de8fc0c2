"""A broker, a lake and topics of their own for one measurement, gone afterwards."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from confluent_kafka.admin import AdminClient
from pydantic import SecretStr

from lakehouse.kafka_access import for_librdkafka
from lakehouse.settings import Settings
from operate.services.topics import topic_configs
from operate.stack import Stack, only_run
from operate.supervisor import Say

_TOPICS = ("events_topic", "unreadable_topic")


@contextmanager
def fresh_stack(settings: Settings, say: Say) -> Iterator[Stack]:
    """A stack of which only Kafka runs, in an empty home folder inside the home folder, so on the same disk.

    With a given Kafka that one is used, under topic names of this run. The lake is a folder of the new home, whatever
    the settings say. At the end, also on an error, Ctrl-C or SIGTERM, all programs of the stack are stopped and its
    folder and topics are removed.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="bench-", dir=settings.home))
    embedded = {"home": home, "lake": "", "kafka_port": 0, "postgres_dsn": SecretStr(""), "postgres_port": 0}
    embedded |= {"live_dsn": SecretStr(""), "live_port": 0}
    own = settings.model_copy(update=embedded | _own_topics(settings, home.name))
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with only_run(own, say):
            stack = Stack(own, say)
            try:
                say(f"starting Kafka in {home}" if not own.kafka_bootstrap else f"using Kafka at {own.kafka_bootstrap}")
                stack.start_kafka()
                stack.wait_for_kafka()
                yield stack
            finally:
                stack.supervisor.stop_all()
                if own.kafka_bootstrap:
                    _remove_topics(own)
    finally:
        signal.signal(signal.SIGTERM, before)
        shutil.rmtree(home, ignore_errors=True)
        with suppress(OSError):
            settings.home.rmdir()  # where there was none before


def _own_topics(settings: Settings, run: str) -> dict[str, str]:
    """Our own broker is empty; on another one nothing of its owner's may be read or written."""
    if not settings.kafka_bootstrap:
        return {}
    return {name: f"{getattr(settings, name)}-{run}" for name in _TOPICS} | {"gold_topic_prefix": f"{run}-"}


def _remove_topics(settings: Settings) -> None:
    admin = AdminClient(for_librdkafka(settings) | {"log_level": 0})
    for done in admin.delete_topics(list(topic_configs(settings)), operation_timeout=15).values():
        with suppress(Exception):
            done.result()
