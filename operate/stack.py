"""What `lakehouse up` runs: Kafka, PostgreSQL, MLflow unless given, pipeline, rounds, file source, sink, live page."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from pydantic import SecretStr

from lakehouse.errors import LockedError, ServiceError, SettingError
from lakehouse.locks import hold
from lakehouse.pulse import is_running, pulse_file, read_pulse
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from operate import live
from operate.served import lag
from operate.services.kafka import KafkaBroker
from operate.services.mlflow import MlflowServer, is_installed, missing_extra
from operate.services.postgres import STOP_SIGNAL, PostgresServer
from operate.services.topics import ensure_topics
from operate.store_access import how_to_connect
from operate.supervisor import Program, Say, Supervisor, end_leftovers
from serving.state import state_file

_ROUNDS_STOP_S, _CATCH_UP_S = 180.0, 3600.0
_KAFKA_START_S, _POSTGRES_START_S, _PIPELINE_START_S, _PAGE_START_S, _DRAIN_S = 60.0, 60.0, 180.0, 60.0, 20.0

PAGE = "live page"
MLFLOW = "MLflow"

SCORES = "scores"

_ROUNDS = ("rounds", "carts", SCORES)
"""Processes of operate.rounds, in the order in which they are stopped: carts are made of what the rounds keep."""


class Stack:
    """The programs of a run, under one supervisor. Its settings name the broker that is used."""

    def __init__(self, settings: Settings, say: Say) -> None:
        self._broker = None if settings.kafka_bootstrap else KafkaBroker(settings)
        self._postgres = None if settings.postgres_dsn.get_secret_value() else PostgresServer(settings)
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
        for line in ensure_topics(self.settings):
            self._say(line)

    def start_postgres(self) -> None:
        """Starts the embedded serving store."""
        if self._postgres is not None:
            for line in self._postgres.prepare():
                self._say(line)
            self.settings = known_store(self.settings)
            self.supervisor.start(
                Program("PostgreSQL", self._postgres.command(), self._postgres.output, stop_signal=STOP_SIGNAL)
            )

    def wait_for_postgres(self) -> None:
        if self._postgres is not None:
            self.supervisor.wait_until(self._postgres.is_ready, "PostgreSQL", _POSTGRES_START_S)

    def start_sink(self) -> None:
        """Once Kafka and PostgreSQL are there: gold's topics are served."""
        state_file(self.settings).unlink(missing_ok=True)
        self.supervisor.start(
            Program(
                "sink",
                [sys.executable, "-m", "serving.sink"],
                self.settings.logs / "sink.log",
                self.settings.as_environment(),
            )
        )

    def start_live(self) -> None:
        """Once PostgreSQL is there. A server of somebody else's for which no reader is named goes without the page."""
        try:
            self.settings, notes = live.page_settings(self.settings)
        except SettingError as error:
            self._say(f"no live page: {error}")
            return
        for line in notes:
            self._say(line)
        self.supervisor.start(
            Program(
                PAGE,
                [sys.executable, "-m", "serving.live"],
                self.settings.logs / "live.log",
                self.settings.as_environment(),
            )
        )

    def start_mlflow(self) -> None:
        """Shows the embedded store of runs. Without the extra `ml` it is left out."""
        server = MlflowServer(self.settings)
        if self.settings.mlflow_tracking_uri:
            return
        try:
            notes = server.prepare()
        except SettingError as error:
            self._say(f"no MLflow: {error}")
            return
        for line in notes:
            self._say(line)
        self.supervisor.start(Program(MLFLOW, server.command(), server.output, server.environment()))

    def mlflow(self) -> list[str]:
        """Out: where MLflow is, as a line; none without one. It is not waited for: it takes its time to start."""
        if self.settings.mlflow_tracking_uri:
            return [f"MLflow: {self.settings.mlflow_tracking_uri}"]
        return [f"MLflow: {MlflowServer(self.settings).url}"] if self.supervisor.is_started(MLFLOW) else []

    def live_page(self) -> list[str]:
        """Waits for the page. Out: where it is, as a line; none without a page."""
        if not self.supervisor.is_started(PAGE):
            return []
        self.supervisor.wait_until(lambda: live.is_answering(self.settings), PAGE, _PAGE_START_S)
        return [f"Live page: {live.page_url(self.settings)}"]

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

    def start_rounds(self) -> None:
        """What keeps the slower tables, once the pipeline runs, which has the better right to the machine."""
        settings = self.settings.model_copy(
            update={"driver_memory_mb": self.settings.rounds_memory_mb, "master": _roomy(self.settings.master)}
        )
        for name in _ROUNDS:
            if name == SCORES and not is_installed():
                self._say(f"no scores: {missing_extra('mlflow')}")
                continue
            self.supervisor.start(
                Program(
                    name,
                    [sys.executable, "-m", "operate.rounds", name],
                    self.settings.logs / f"{name}.log",
                    settings.as_environment(),
                    stop_timeout_s=_ROUNDS_STOP_S,
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

    def start_all(self, with_source: bool = True, with_rounds: bool = True) -> None:
        """Kafka, Spark and PostgreSQL start side by side; the pipeline waits for its topics."""
        self.start_kafka()
        self.start_beside_kafka(with_source, with_rounds)

    def start_beside_kafka(self, with_source: bool = True, with_rounds: bool = True) -> None:
        """All else, where Kafka runs or starts."""
        self.start_pipeline()
        self.start_postgres()
        self.wait_for_kafka()
        self.wait_for_postgres()
        self.start_sink()
        self.start_live()
        if with_source:
            self.start_source()
        self.wait_for_pipeline()
        if with_rounds:
            self.start_rounds()
            self.start_mlflow()

    def stop_pipeline(self, hurry: Stop | None = None) -> None:
        """The pipeline writes what it has published, the rounds take that in, and the sink serves it all.

        :param hurry: unless it is set, the rounds may take as long as much input needs. None: they may not.
        """

        def patience_s() -> float:
            return _ROUNDS_STOP_S if hurry is None or hurry.is_set() else _CATCH_UP_S

        self.supervisor.stop("pipeline")
        for name in _ROUNDS:
            self.supervisor.stop(name, patience_s)
        end_s = time.monotonic() + _DRAIN_S
        while self.supervisor.is_started("sink") and time.monotonic() < end_s:
            try:
                if lag(self.settings) == 0:
                    return
            except ServiceError:
                return  # PostgreSQL or Kafka is away: the sink goes on there when both are back
            time.sleep(0.1)


def _roomy(master: str) -> str:
    """With places for more tasks than there are cores: those of the rounds wait most of the time, for cores that they
    give way on, and for Python.
    """
    return f"local[{2 * (os.cpu_count() or 1)}]" if master == "local[*]" else master


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
def services_at_hand(settings: Settings, say: Say) -> Iterator[Settings]:
    """Kafka and PostgreSQL for a command that needs them for a while: those given or running, or the embedded ones,
    started for it.
    """
    if settings.kafka_bootstrap:
        yield known_store(settings)
        return
    with ExitStack() as until_done:
        try:
            until_done.enter_context(only_run(settings, say))
        except LockedError:
            yield known_services(settings)
            return
        stack = Stack(settings, say)
        until_done.callback(stack.supervisor.stop_all)
        stack.start_kafka()
        stack.start_postgres()
        stack.wait_for_kafka()
        stack.wait_for_postgres()
        yield stack.settings


def known_services(settings: Settings) -> Settings:
    """Settings that name Kafka and PostgreSQL, given or embedded, running or not."""
    return known_store(known_kafka(settings))


def known_store(settings: Settings) -> Settings:
    """Settings that name the PostgreSQL given, or the embedded one where there is one."""
    if settings.postgres_dsn.get_secret_value():
        return settings
    server = PostgresServer(settings)
    with suppress(ServiceError):
        return settings.model_copy(update={"postgres_dsn": SecretStr(server.dsn)})
    return settings


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
            say("starting Kafka, PostgreSQL and Spark")
            stack.start_all()
            say(f"running. Kafka: {stack.settings.kafka_bootstrap}  lake: {settings.lake_url}  logs: {settings.logs}")
            for line in (*stack.live_page(), *stack.mlflow(), *how_to_connect(stack.settings)):
                say(line)
            say(f"CSV files that are put into {settings.input_path} are read")
            say("Ctrl-C stops it; `lakehouse status` and `lakehouse audit` work beside it")
            while not stop.wait(0.5):
                stack.supervisor.watch()
            say("stopping: the batch in work is finished first")
            stack.stop_pipeline()
        finally:
            stack.supervisor.stop_all()
    say("stopped")
    return 0
