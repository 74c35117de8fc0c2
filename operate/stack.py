"""Everything that `lakehouse up` runs: the broker, unless one is given, the pipeline, and the source of files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from lakehouse.errors import LockedError, ServiceError
from lakehouse.locks import hold
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from operate.pulse import is_running, pulse_file, read_pulse
from operate.services.kafka import KafkaBroker
from operate.services.topics import ensure_topics
from operate.supervisor import Program, Say, Supervisor, end_leftovers

_KAFKA_START_S, _PIPELINE_START_S = 60.0, 180.0


class Stack:
    """The programs of a run, under one supervisor. Its settings name the broker that is used."""

    def __init__(self, settings: Settings, say: Say) -> None:
        self._broker = None if settings.kafka_bootstrap else KafkaBroker(settings)
        self._say = say
        self.supervisor = Supervisor(settings, say)
        self.settings = settings

    def start_kafka(self) -> None:
        """Starts the embedded broker and sees to the topics."""
        if self._broker is not None:
            for line in self._broker.prepare():
                self._say(line)
            self.settings = self.settings.model_copy(update={"kafka_bootstrap": self._broker.bootstrap})
            self.supervisor.start(
                Program("Kafka", self._broker.command(), self._broker.output, self._broker.environment())
            )

    def wait_for_kafka(self) -> None:
        if self._broker is not None:
            self.supervisor.wait_until(self._broker.is_ready, "Kafka", _KAFKA_START_S)
        for line in ensure_topics(self.settings.kafka_bootstrap, self.settings):
            self._say(line)

    def start_pipeline(self) -> None:
        pulse_file(self.settings).unlink(missing_ok=True)
        self.supervisor.start(
            Program(
                "pipeline",
                [sys.executable, "-m", "operate.pipeline"],
                self.settings.logs / "pipeline.log",
                self.settings.as_environment(),
                stop_timeout_s=60.0,
                gives_way=True,
            )
        )

    def start_source(self) -> None:
        """Once Kafka is there: what is put into the input folder is sent."""
        self.supervisor.start(
            Program(
                "file source",
                [sys.executable, "-m", "ingest.file_source"],
                self.settings.logs / "source.log",
                self.settings.as_environment(),
            )
        )

    def wait_for_pipeline(self) -> None:
        self.supervisor.wait_until(lambda: is_running(read_pulse(self.settings)), "pipeline", _PIPELINE_START_S)

    def start_all(self, with_source: bool = True) -> None:
        """Kafka and Spark start side by side; the pipeline waits for its topics."""
        self.start_kafka()
        self.start_pipeline()
        self.wait_for_kafka()
        if with_source:
            self.start_source()
        self.wait_for_pipeline()


@contextmanager
def only_run(settings: Settings, say: Say) -> Iterator[None]:
    """This process is the one that runs things in this home folder.

    :raises LockedError: another one is.
    """
    with hold(settings.home / "run" / "up.lock", f"running in {settings.home}"):
        for name in end_leftovers(settings):
            say(f"ended {name}, which an earlier run had left behind")
        yield


@contextmanager
def kafka_at_hand(settings: Settings, say: Say) -> Iterator[Settings]:
    """Kafka for a command that needs it for a while: the one given or running, or the embedded one, started for it."""
    if settings.kafka_bootstrap:
        yield settings
        return
    with ExitStack() as until_done:
        try:
            until_done.enter_context(only_run(settings, say))
        except LockedError:
            yield known_kafka(settings)
            return
        stack = Stack(settings, say)
        until_done.callback(stack.supervisor.stop_all)
        stack.start_kafka()
        stack.wait_for_kafka()
        yield stack.settings


def known_kafka(settings: Settings) -> Settings:
    """Settings that name the broker given, or the embedded one where there is one, running or not."""
    if settings.kafka_bootstrap:
        return settings
    with suppress(ServiceError):
        return settings.model_copy(update={"kafka_bootstrap": KafkaBroker(settings).bootstrap})
    return settings


def up(settings: Settings, say: Say) -> int:
    """Runs the lakehouse until it is told to stop."""
    stop = Stop().listen()
    with only_run(settings, say):
        stack = Stack(settings, say)
        try:
            say("starting Kafka and Spark")
            stack.start_all()
            say(f"running. Kafka: {stack.settings.kafka_bootstrap}  lake: {settings.lake_url}  logs: {settings.logs}")
            say(f"CSV files that are put into {settings.input_path} are read")
            say("Ctrl-C stops it; `lakehouse status` and `lakehouse audit` work beside it")
            while not stop.wait(0.5):
                stack.supervisor.watch()
            say("stopping: the batch in work is finished first")
        finally:
            stack.supervisor.stop_all()
    say("stopped")
    return 0
