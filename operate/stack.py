"""What `lakehouse up` runs: Kafka, PostgreSQL, MLflow unless given, pipeline, rounds, file source, sink, live page."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial

from lakehouse.conninfo import without_login
from lakehouse.errors import LakehouseError, LockedError, ServiceError, SettingError, TableError
from lakehouse.home import temporary_folder
from lakehouse.locks import hold
from lakehouse.logs import bounded_logs
from lakehouse.offsets import TopicIds, held_offsets
from lakehouse.pulse import is_running, pulse_file, read_pulse
from lakehouse.reading import Reading
from lakehouse.settings import Settings
from lakehouse.streams import Stop, StoppedError
from lakehouse.tables import BRONZE_EVENTS, SILVER_SESSIONS
from operate import java, live
from operate.java import COMPILE_QUICKLY
from operate.lake import events_left, last_noted
from operate.programs import run_lock
from operate.ready import is_ready
from operate.served import lag
from operate.services.kafka import KafkaBroker
from operate.services.mlflow import MlflowServer, is_installed, missing_extra
from operate.services.postgres import STOP_SIGNAL, PostgresServer
from operate.services.topics import ensure_topics, topic_differences
from operate.store_access import how_to_connect, known_store
from operate.supervisor import Program, Say, Supervisor, end_leftovers
from serving.state import state_file

_STOP_S, _LEAST_STOP_S = 10.0, 2.0
"""The slower tables may take so long together for what they have left to do when a run is stopped, and each at least so
long; the next start does the rest.
"""

_KAFKA_START_S, _POSTGRES_START_S, _PIPELINE_START_S, _PAGE_START_S, _DRAIN_S = 60.0, 60.0, 180.0, 60.0, 20.0

_TOPICS_S = 15.0

SOURCE = "file source"
PAGE = "live page"
MLFLOW = "MLflow"

SCORES = "scores"

_ROUNDS = {"rounds": "sessions and gold's slower tables", "carts": "abandoned carts", SCORES: "scores"}
"""Processes of operate.rounds and what they keep, in the order in which they are stopped: carts are made of what the
rounds keep."""


def title_of(name: str) -> str:
    """What a user reads of the program with this name."""
    return _ROUNDS.get(name, name)


Source = Callable[[Settings], Program]
"""What sends events: made once it is known where Kafka is."""


def file_source(settings: Settings) -> Program:
    """Sends what is put into the input folder."""
    command = [sys.executable, "-m", "ingest.file_source"]
    return Program(SOURCE, command, settings.logs / "source.log", settings.as_environment())


class Stack:
    """The programs of a run, under one supervisor. Its settings name the broker that is used.

    :param stop: once it is set, nothing that starts is waited for.
    """

    def __init__(self, settings: Settings, say: Say, stop: Stop | None = None) -> None:
        self._broker = None if settings.kafka_bootstrap else KafkaBroker(settings)
        self._postgres = None if settings.postgres_dsn.get_secret_value() else PostgresServer(settings)
        self._say = say
        self.supervisor = Supervisor(settings, say, stop)
        self.settings = settings
        self.topic_differences: list[str] = []

    def start_kafka(self) -> None:
        """Starts the embedded broker and sees to the topics."""
        if self._broker is not None:
            for line in self._broker.prepare():
                self._say(line)
            self.settings = self.settings.model_copy(update=self._broker.access)
            self.supervisor.start(
                Program("Kafka", self._broker.command(), self._broker.output, self._broker.environment())
            )

    @property
    def kafka(self) -> str:
        """Where it is, and what its owner's clients log in with."""
        login = f", login in {self._broker.login}" if self._broker else ""
        return f"Kafka: {self.settings.kafka_bootstrap}{login}"

    def wait_for_kafka(self) -> None:
        if self._broker is not None:
            self.supervisor.wait_until(self._broker.is_ready, "Kafka", _KAFKA_START_S)
        self.topic_differences = ensure_topics(self.settings)
        for line in self.topic_differences:
            self._say(line)

    def _refuse_a_loss(self) -> None:
        """The pipeline refuses it too, again and again: here it is said where it is read."""
        with suppress(TableError):  # no bronze yet
            reading = Reading.of_note(last_noted(BRONZE_EVENTS, self.settings).note)
            reading.start(held_offsets(self.settings), TopicIds(self.settings).now())

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
            return [f"MLflow: {without_login(self.settings.mlflow_tracking_uri)}"]
        if not self.supervisor.is_started(MLFLOW):
            return []
        return [f"MLflow: {live.with_token(MlflowServer(self.settings).url, self.settings, sys.stdout)}"]

    def live_page(self) -> list[str]:
        """Waits for the page. Out: where it is, as a line; none without a page."""
        if not self.supervisor.is_started(PAGE):
            return []
        self.supervisor.wait_until(lambda: live.is_answering(self.settings), PAGE, _PAGE_START_S)
        return [f"Live page: {live.page_address(self.settings, sys.stdout)}"]

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
        for name, title in _ROUNDS.items():
            self._start_rounds(title, [name], [], {})

    def start_rounds_together(self, train: bool, java_options: str = "") -> None:
        """The same in one process, for a run that is short: each Spark takes its time to start.

        :param train: models that have no champion are trained before the first scores.
        :param java_options: of this process alone, added to those of all.
        """
        options = " ".join(filter(None, (os.environ.get("JAVA_TOOL_OPTIONS"), java_options)))
        environment = {"JAVA_TOOL_OPTIONS": options} if options else {}
        self._start_rounds("the slower tables", [*_ROUNDS], ["--train"] if train else [], environment)

    def _start_rounds(self, title: str, names: list[str], options: Sequence[str], environment: dict[str, str]) -> None:
        settings = self.settings.model_copy(
            update={"driver_memory_mb": self.settings.rounds_memory_mb, "master": _roomy(self.settings.master)}
        )
        if SCORES in names and not is_installed():
            self._say(f"no scores: {missing_extra('mlflow')}")
            names = [name for name in names if name != SCORES]
        if names:
            self.supervisor.start(
                Program(
                    names[0],
                    [sys.executable, "-m", "operate.rounds", *names, *options],
                    self.settings.logs / f"{names[0]}.log",
                    settings.as_environment() | environment,
                    title=title,
                    stop_timeout_s=_STOP_S,
                    gives_way=True,
                )
            )

    def wait_for_pipeline(self) -> None:
        self.supervisor.wait_until(lambda: is_running(read_pulse(self.settings)), "pipeline", _PIPELINE_START_S)

    def are_rounds_ready(self) -> bool:
        """Have all that keep slower tables begun to?"""
        names = [name for name in _ROUNDS if self.supervisor.is_started(name)]
        return all(is_ready(self.settings, name, self.supervisor.pid(name)) for name in names)

    def start_all(self, source: Source | None = file_source, with_rounds: bool = True) -> None:
        """All programs.

        :raises StoppedError: somebody said stop meanwhile.
        """
        self.start_kafka()
        self.start_beside_kafka(source, with_rounds)

    def start_beside_kafka(self, source: Source | None = None, with_rounds: bool = True) -> None:
        """All else, where Kafka runs or starts."""
        self.start_layers(source)
        self.start_serving()
        self.wait_for_pipeline()
        if with_rounds:
            self.start_rounds()
            self.start_mlflow()

    def start_layers(self, source: Source | None) -> None:
        """What a sale needs on its way to its topic, where Kafka runs or starts; and, behind it, PostgreSQL.

        :raises DataLossError: Kafka no longer has what bronze would read next.
        """
        self.start_pipeline()
        self.wait_for_kafka()
        self._refuse_a_loss()
        if source:
            self.supervisor.start(source(self.settings))
        self.start_postgres()

    def start_serving(self) -> None:
        """What brings gold from its topics to PostgreSQL, and what shows it."""
        self.wait_for_postgres()
        self.start_sink()
        self.start_live()

    def stop_pipeline(self, hurry: Stop | None = None, is_through: bool = False) -> None:
        """The pipeline writes what it has published, the slower tables take that in, and the sink serves it all.

        :param is_through: nothing more comes, and silver has it all: the slower tables need not wait for the pipeline.
        :param hurry: until it is set, the slower tables may take as long as much input needs; from then on, and with
            None from the start, they have some seconds.
        """
        hurried_s = time.monotonic() if hurry is None else math.inf
        if is_through:
            for name in _ROUNDS:
                self.supervisor.ask_to_end(name)
        self.supervisor.stop("pipeline")

        def end_s() -> float:
            nonlocal hurried_s
            if hurry is not None and hurry.is_set():
                hurried_s = min(hurried_s, time.monotonic())
            return hurried_s + _STOP_S

        def patience_s(began_s: float) -> float:
            return max(_LEAST_STOP_S, end_s() - began_s)

        for name in _ROUNDS:
            self.supervisor.stop(name, partial(patience_s, time.monotonic()), self._left(name))
        self._drain_sink()

    def _left(self, name: str) -> Callable[[], str]:
        """How much a program that keeps slower tables has left to take in, as a user reads it."""

        def left() -> str:
            with suppress(LakehouseError):
                events = events_left(SILVER_SESSIONS, self.settings)
                return f"{events:,} events to take in" if events else ""
            return ""

        return left if name == "rounds" else str

    def _drain_sink(self) -> None:
        """Waits until the store has what is in gold's topics."""
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
    with hold(run_lock(settings), f"running in {settings.home}"):
        for name in end_leftovers(settings):
            say(f"ended {name}, which an earlier run had left behind")
        with temporary_folder(settings.home), bounded_logs(settings):
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


def known_kafka(settings: Settings) -> Settings:
    """Settings that name the broker given, or the embedded one where there is one, running or not."""
    if settings.kafka_bootstrap:
        return settings
    with suppress(ServiceError):
        return settings.model_copy(update=KafkaBroker(settings).access)
    return settings


@contextmanager
def running_stack(settings: Settings, say: Say, stop: Stop) -> Iterator[Stack]:
    """The stack of the one run in this home, of which all programs have ended after the block.

    Said stop while it starts, the block ends there. A second Ctrl-C, wherever it comes, ends all programs at once.

    :raises LockedError: another run has this home.
    """
    options = os.environ.get("JAVA_TOOL_OPTIONS", "")
    if options not in ("", COMPILE_QUICKLY):
        say(f"JAVA_TOOL_OPTIONS is set, and each Java program here takes it: {options}")
    with only_run(settings, say):
        stack = Stack(settings, say, stop)
        try:
            try:
                yield stack
            except StoppedError as error:
                say(str(error))
            except KeyboardInterrupt:
                raise
            except BaseException:
                stack.supervisor.stop_all()
                raise
            stack.supervisor.stop_all()
        except KeyboardInterrupt:
            say("ending at once; what has not been taken in is taken in at the next start")
            stack.supervisor.end_now()
            raise


class _TopicsWatch:
    """Says it when a topic is no longer as it must be: somebody has altered it."""

    def __init__(self, settings: Settings, said: list[str], say: Say) -> None:
        self._settings, self._say, self._looked_s = settings, say, time.monotonic()
        self._said = set(said)

    def look(self) -> None:
        """Now and then."""
        if time.monotonic() - self._looked_s < _TOPICS_S:
            return
        with suppress(ServiceError):  # said by others
            found = set(topic_differences(self._settings))
            for line in sorted(found - self._said):
                self._say(line)
            self._said = found
        self._looked_s = time.monotonic()


def up(settings: Settings, show: Say) -> int:
    """Exit code 1 if a program then ended otherwise than it was asked to."""
    stop = Stop().listen()
    with running_stack(settings, show, stop) as stack:
        show("starting Kafka, PostgreSQL and Spark")
        if old := java.outdated(datetime.now(UTC).date()):
            show(old)
        stack.start_all()
        show(f"sales flow. {stack.kafka}")
        show(f"lake: {settings.lake_url}  logs: {settings.logs}")
        for line in (*stack.live_page(), *stack.mlflow(), *how_to_connect(stack.settings)):
            show(line)
        show(f"CSV files that are put into {settings.input_path} are read")
        show("Ctrl-C stops it; `lakehouse status` and `lakehouse audit` work beside it")
        show("the slower tables start")
        topics, all_run = _TopicsWatch(stack.settings, stack.topic_differences, show), False
        while not stop.wait(0.5):
            stack.supervisor.watch()
            topics.look()
            if not all_run and stack.are_rounds_ready():
                all_run = True
                show("running.")
        show("stopping: the batch in work is finished first; Ctrl-C again ends everything at once")
        for name in (SOURCE, PAGE, MLFLOW):  # nothing waits for these
            stack.supervisor.ask_to_end(name)
        stack.stop_pipeline()
    show("stopped")
    return 1 if stack.supervisor.ended_otherwise else 0
