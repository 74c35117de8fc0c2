"""One measurement: a stream at a given rate, and how long each purchase takes to be a sale.

Whatever computes the sales, the measuring is the same: this process reads the events and the sales back from Kafka and
does nothing else; the stream is sent by a process of its own, each event at its time however slow the sales are. A
payment's time is the time that the broker stamped on the event's record as it took it (LogAppendTime); a sale is
visible when this process has its record. Both are the clock of one machine, unless Kafka runs elsewhere.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import psutil

from bench.measure import Payments, Waits
from bench.reader import TopicReader
from bench.store_reader import StoreReader
from bench.usage import Usage, machine_cpu_s, own_cpu_s, spent
from lakehouse.errors import ServiceError
from lakehouse.pulse import read_pulse
from lakehouse.settings import Settings
from operate.stack import Stack
from operate.supervisor import Program, Say, tail

WAIT_AT_END_S = 60.0  # a purchase that is not seen so long after the last event was sent counts as lost
_LOOK_EVERY_S, _SAY_EVERY_S = 0.5, 10.0  # as often as `up` looks after its programs


@dataclass(frozen=True)
class Load:
    """What is sent: events per second, for so long after a warm-up at the same rate.

    :param kill_at_s: so far into the measured time Spark's JVM is killed.
    """

    rate_per_s: float
    seconds: float
    warm_up_s: float
    seed: int = 1
    kill_at_s: float | None = None


@dataclass(frozen=True)
class Measured:
    facts: dict[str, Any]
    waits: Waits


def open_loop(stack: Stack, load: Load, say: Say, mortal: tuple[Program, ...] = ()) -> Measured:
    """Sends the load to a stack that runs, and waits for all of its sales.

    :param mortal: running programs that nobody starts again, so that their end is the end of the measurement.
    :raises ServiceError: the feeder failed, or such a program ended.
    """
    settings = stack.settings
    payments, served, usage = Payments(settings.sales_window_s), Payments(settings.sales_window_s), Usage(settings)
    dsn = settings.postgres_dsn.get_secret_value()
    store = StoreReader(dsn, served) if dsn else None
    reader = TopicReader(settings, payments, served)
    try:
        follow = Follower(stack, reader, store, usage, load, mortal, say)
        since_s, _ = follow.through()
        give_up_s = time.time() + WAIT_AT_END_S

        def is_over() -> bool:
            waiting = payments.waiting() or (store is not None and served.waiting())
            return not waiting or time.time() > give_up_s

        follow.until(is_over, "waiting for the last sales")
        waits = payments.waits(since_s, time.time())
        facts = {
            "rate_per_s": load.rate_per_s,
            "seconds": load.seconds,
            "warm_up_s": load.warm_up_s,
            "topic": waits.summary(),
            **(stored(waits, served.waits(since_s, time.time()), follow.steps_s()) if store else {}),
            "units_never_sent": payments.too_many() + served.too_many(),
            **follow.facts(),
        }
    finally:
        reader.close()
        if store is not None:
            store.close()
    return Measured(facts, waits)


def stored(topic: Waits, store: Waits, steps_s: dict[str, float]) -> dict[str, Any]:
    """The facts of the stage PostgreSQL, and which part of the mean wait each stage takes.

    :param steps_s: mean lengths of the steps of a batch; a payment waits for those up to `publish`, and before them for
        its batch to begin.
    """
    until_topic, until_row = (sum(waits.waits_s) / max(1, len(waits.waits_s)) for waits in (topic, store))
    steps = {name: length_s for name, length_s in steps_s.items() if name in ("judge", "revise", "publish")}
    parts = {"wait_for_batch": max(0.0, until_topic - sum(steps.values())), **steps, "sink": until_row - until_topic}
    whole = sum(parts.values()) or 1.0
    return {
        "postgres": store.summary(),
        "mean_stages_s": {name: round(part, 3) for name, part in parts.items()},
        "stage_shares": {name: round(part / whole, 3) for name, part in parts.items()},
    }


class Reader(Protocol):
    """Reads events, and what is made of them, back from Kafka.

    :param sent: events read so far. :param first_at_s: when Kafka had the first one, in seconds since 1970; 0 before.
    """

    sent: int
    first_at_s: float

    def read(self, timeout_s: float) -> None: ...


class Store(Protocol):
    """Takes in, without waiting, what PostgreSQL has to tell."""

    def read(self) -> None: ...


class Follower:
    """Sends a load and reads on until something is so, looks after the programs, and says now and then what goes on."""

    def __init__(
        self,
        stack: Stack,
        reader: Reader,
        store: Store | None,
        usage: Usage,
        load: Load,
        mortal: tuple[Program, ...],
        say: Say,
    ) -> None:
        self._stack, self._supervisor, self._reader, self._store = stack, stack.supervisor, reader, store
        self._usage, self._say, self._load, self._mortal = usage, say, load, mortal
        self._feeder, self._load_before = _feeder_of(stack.settings, load), os.getloadavg()
        self._spent: dict[str, Any] = {}
        self._kill_at_s: float | None = None
        self._steps: list[dict[str, float]] = []
        self._looked_at_s, self._said_at_s = 0.0, time.monotonic()

    def through(self) -> tuple[float, float]:
        """Sends the load. Out: when the measured time began and ended, in seconds since 1970."""
        self._supervisor.start(self._feeder)
        self.until(lambda: self._reader.first_at_s > 0, "starting the stream")
        since_s = self._reader.first_at_s + self._load.warm_up_s
        self.until(lambda: time.time() >= since_s, "warming up")
        if self._load.kill_at_s is not None:
            self._kill_at_s = time.monotonic() + self._load.kill_at_s
        usage, began_s = self._usage, time.monotonic()
        cpu_s, machine_s, rest_s = usage.cpu_s(), machine_cpu_s(), _rest_s(usage)
        self.until(lambda: self._supervisor.exit_code("feeder") is not None, "measuring")
        until_s, others_s = time.time(), _rest_s(usage) - rest_s
        others_share = others_s / (time.monotonic() - began_s) / (os.cpu_count() or 1)
        self._spent = {
            "cpu_s": spent(cpu_s, usage.cpu_s()),
            "machine_cpu_s": round(machine_cpu_s() - machine_s, 1),
            "others_cpu_share": round(max(0.0, others_share), 3),
        }
        return since_s, until_s

    def facts(self) -> dict[str, Any]:
        """What was sent, and what the measured time cost."""
        return {
            "sent_events": self._reader.sent,
            "feeder": (tail(self._feeder.log, 1).splitlines() or [""])[-1],
            "load_average_before": _rounded(self._load_before),
            "load_average_after": _rounded(os.getloadavg()),
            **self._spent,
            "peak_memory_mb": self._usage.peak_memory_mb(),
        }

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        while not is_so():
            self._reader.read(0.1 if self._store is None else 0.02)
            if self._store is not None:
                self._store.read()
            now_s = time.monotonic()
            if now_s - self._looked_at_s > _LOOK_EVERY_S:
                self._looked_at_s = now_s
                self._look()
            if now_s - self._said_at_s > _SAY_EVERY_S:
                self._said_at_s = now_s
                self._say(f"{what}: {self._reader.sent:,} events sent")

    def steps_s(self) -> dict[str, float]:
        """How long the steps of the pipeline's batches took, on average."""
        names = self._steps[0] if self._steps else {}
        return {name: sum(steps[name] for steps in self._steps) / len(self._steps) for name in names}

    def _look(self) -> None:
        if self._kill_at_s is not None and time.monotonic() > self._kill_at_s:
            self._kill_at_s = None  # as if the kernel had needed its memory
            for process in psutil.Process(read_pulse(self._stack.settings)["pid"]).children(recursive=True):
                process.kill()
            self._say("killed Spark's JVM")
        steps = read_pulse(self._stack.settings).get("steps_s")
        if steps:
            self._steps.append(steps)
        self._supervisor.watch()
        self._usage.sample_memory()
        if self._supervisor.exit_code("feeder"):
            raise ServiceError(f"The feeder failed.\n{tail(self._feeder.log)}")
        for program in self._mortal:
            if self._supervisor.exit_code(program.name) is not None:
                raise ServiceError(f"{program.name} ended.\n{tail(program.log)}")


def _feeder_of(settings: Settings, load: Load) -> Program:
    """The program that sends the load; it ends by itself."""
    seconds = load.warm_up_s + load.seconds
    flags = [f"--rate={load.rate_per_s}", f"--seconds={seconds}", f"--seed={load.seed}"]
    command = [sys.executable, "-m", "ingest.produce", *flags]
    return Program("feeder", command, settings.logs / "feeder.log", settings.as_environment(), restart=False)


def _rest_s(usage: Usage) -> float:
    """CPU seconds so far of what is not a part of the measurement; the feeder is counted here, it takes little."""
    return machine_cpu_s() - own_cpu_s() - sum(usage.cpu_s().values())


def _rounded(values: tuple[float, ...]) -> list[float]:
    return [round(value, 2) for value in values]
