"""What is done to the stack. Each ends when what it hurt is started again, not when it has caught up."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from operate.supervisor import tail
from serving.state import read_state
from tests.chaos.checks import Check, check, skipped
from tests.chaos.small_disk import SmallDisk
from tests.chaos.stage import Stage, TooLateError, jvm_of, kill

NO_SPACE = "No space left on device"
_REBUILD_S, _REBUILD_LOG = 300.0, "rebuild.log"

Disturbance = Callable[[], Check]


def kill_pipeline(stage: Stage, chance: random.Random, number: int) -> Check:
    """`kill -9` of the pipeline's Python or its JVM: as it starts, or some batches later."""
    while_starting, batches = chance.random() < 0.25, chance.randrange(4)
    wait_s, wants_jvm = chance.uniform(0.0, 15.0 if while_starting else 3.0), chance.random() < 0.5
    stage.wait_for(lambda: stage.process("pipeline") is not None, "a pipeline to kill", 90.0)
    if not while_starting:
        stage.wait_until_running()
        first, end_s = stage.batches(), time.monotonic() + 30.0
        stage.wait_for(
            lambda: stage.batches() >= first + batches or time.monotonic() > end_s or not stage.is_running(),
            "batches",
            60.0,
        )
    stage.pause(wait_s)
    stage.wait_for(lambda: stage.process("pipeline") is not None, "a pipeline to kill", 90.0)
    python = stage.process("pipeline")
    assert python is not None
    jvm = jvm_of(python)
    victim, name = (jvm, "JVM") if wants_jvm and jvm is not None else (python, "Python")
    stage.say(f"kill {number}: kill -9 of the pipeline's {name} {stage.where()}")
    kill(victim)
    stage.wait_until_restarted("pipeline", python)
    return check(f"kill {number}: started again", True, victim=name)


def kill_beside(stage: Stage, chance: random.Random, name: str) -> Check:
    """`kill -9` of a program beside the pipeline, while rows come."""
    stage.pause(chance.uniform(0.0, 5.0))
    stage.wait_for(lambda: stage.process(name) is not None, f"{name} to kill", 90.0)
    victim = stage.process(name)
    assert victim is not None
    stage.say(f"kill -9 of {name}, the pipeline {stage.where()}")
    kill(victim)
    stage.wait_until_restarted(name, victim)
    return check(f"{name}: started again", True)


def stop(stage: Stage, chance: random.Random, name: str, number: int) -> Check:
    """A program is asked to end in the middle of its work, while rows come, and has to be through with it."""
    has_begun = stage.is_running if name == "pipeline" else lambda: stage.has_begun(name)
    stage.wait_for(has_begun, f"{name}, to be stopped", 180.0)
    stage.pause(chance.uniform(0.0, 6.0))
    stage.wait_for(has_begun, f"{name}, to be stopped", 180.0)
    asked, supervisor = stage.process(name), stage.stack.supervisor
    assert asked is not None
    stage.say(f"stop {number}: {name} is asked to end, the pipeline {stage.where()}")
    supervisor.ask_to_end(name)
    began_s, codes = time.monotonic(), []

    def has_ended() -> bool:
        codes.append(supervisor.exit_code(name))  # of the next one soon after
        return codes[-1] is not None

    stage.wait_for(has_ended, f"{name} ends", 300.0)
    lasted_s, end = time.monotonic() - began_s, tail(stage.settings.logs / f"{name}.log", 1)
    stage.wait_until_restarted(name, asked)
    is_through = codes[-1] == 0 and end.endswith("stopped")
    return check(
        f"stop {number}: {name} ended as asked",
        is_through,
        code=codes[-1],
        lasted_s=f"{lasted_s:.1f}",
        log_ends_with=end,
    )


def take_postgres_away(stage: Stage, chance: random.Random, seconds: float) -> Check:
    """PostgreSQL is stopped for so long, while sales go on; the sink says for whom it waits."""
    stage.pause(chance.uniform(0.0, 5.0))

    def sink_is(state: str) -> bool:
        return read_state(stage.settings).get("state") == state

    stage.wait_for(lambda: sink_is("serving"), "the sink serves", 90.0)
    stage.say(f"PostgreSQL is stopped for {seconds:.0f} s, the pipeline {stage.where()}")
    stage.stack.supervisor.stop("PostgreSQL")
    stage.wait_for(lambda: sink_is("waiting for PostgreSQL"), "the sink says for whom it waits", 30.0)
    reason = read_state(stage.settings)["reason"]
    stage.pause(seconds)
    stage.stack.start_postgres()
    stage.wait_for(lambda: sink_is("serving"), "the sink serves again", 60.0)
    return check("PostgreSQL away: said, served again", True, seconds=seconds, sink_said=reason)


def restart_kafka(stage: Stage, chance: random.Random) -> Check:
    """The broker is killed, or asked to end, while records are sent; the supervisor starts it again."""
    stage.pause(chance.uniform(0.0, 5.0))
    how = chance.choice([signal.SIGKILL, signal.SIGTERM])
    broker = stage.process("Kafka")
    assert broker is not None
    before = stage.feed.acknowledged
    stage.say(f"kafka restart: {how.name} to the broker after {before:,} records, the pipeline {stage.where()}")
    broker.send_signal(how)
    began_s = time.monotonic()
    stage.wait_until_restarted("Kafka", broker)
    stage.wait_for(stage.kafka_answers, "Kafka answers again", 90.0)
    away_s = time.monotonic() - began_s
    stage.say(f"kafka restart: it answers again after {away_s:.1f} s")
    return check("kafka restart: answers again", True, signal=how.name, away_s=f"{away_s:.1f}")


def fill_disk(stage: Stage, chance: random.Random, disk: SmallDisk | None, why_not: str) -> Check:
    """The lake's filesystem is full until the pipeline has died of it, and for a moment more."""
    name = "disk full: seen, survived"
    if disk is None:
        stage.say(f"skipped: disk full ({why_not})")
        return skipped(name, why_not)
    stage.wait_until_running()
    stage.pause(chance.uniform(0.0, 3.0))
    logs, python = _Logs(stage.settings.logs), stage.process("pipeline")
    assert python is not None
    stage.say(f"disk full: no byte is left for the lake, the pipeline {stage.where()}")
    try:

        def died_of_it() -> bool:
            disk.fill()  # again and again: what a failing writer removes makes room
            return stage.process("pipeline") != python and logs.have(NO_SPACE)

        stage.wait_for(died_of_it, "the pipeline dies of the full disk", 120.0)
        stage.say(f"disk full: seen in {logs.where(NO_SPACE)}; the pipeline ended")
        stage.pause(chance.uniform(0.0, 10.0))
    finally:
        disk.free()
    stage.say("disk full: there is room again")
    stage.wait_until_running()
    return check(name, True, log=logs.where(NO_SPACE))


def rebuild(stage: Stage, chance: random.Random, kill_first: bool) -> Check:
    """`lakehouse rebuild silver` beside the running stack; with `kill_first` it is killed once, then run again."""
    name = "rebuild: killed, and done again" if kill_first else "rebuild: done"
    # Nothing to rebuild is another case, and a test's of its own.
    stage.wait_for(lambda: stage.is_running() and stage.batches() > 0, "a lake to rebuild", 180.0)
    if kill_first:
        _kill_rebuild(stage, chance)
    began_s = time.monotonic()
    with _rebuilding(stage) as command:
        code = _polled(stage, command, _REBUILD_S)
    lasted_s = time.monotonic() - began_s
    stage.say(f"rebuild: exit code {code} after {lasted_s:.1f} s; it said:\n{tail(stage.settings.logs / _REBUILD_LOG)}")
    if code is None:
        raise TooLateError(f"rebuild silver did not end in {_REBUILD_S:.0f} s")
    return check(name, code == 0, exit_code=code, lasted_s=f"{lasted_s:.1f}")


def _kill_rebuild(stage: Stage, chance: random.Random) -> None:
    wait_s, wants_jvm = chance.uniform(0.0, 20.0), chance.random() < 0.5
    with _rebuilding(stage) as command:
        code = _polled(stage, command, wait_s)
        if code is not None:
            stage.say(f"rebuild: exit code {code} before it was to be killed")
            return
        python = psutil.Process(command.pid)
        jvm = jvm_of(python)
        victim, name = (jvm, "JVM") if wants_jvm and jvm is not None else (python, "Python")
        stage.say(f"rebuild: kill -9 of its {name} after {wait_s:.1f} s")
        kill(victim)
        if _polled(stage, command, 60.0) is None:
            raise TooLateError(f"rebuild goes on 60 s after its {name} was killed")


@contextmanager
def _rebuilding(stage: Stage) -> Iterator[subprocess.Popen[bytes]]:
    stage.say(f"rebuild: begins, the pipeline {stage.where()}")
    command = stage.command(stage.settings.logs / _REBUILD_LOG, "rebuild", "silver")
    try:
        yield command
    finally:
        # Whatever happened, nothing of it is left.
        with suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)
        command.wait()


def _polled(stage: Stage, command: subprocess.Popen[bytes], timeout_s: float) -> int | None:
    """Its exit code; None when it still runs then. The stack goes on meanwhile, and does what it is asked."""
    end_s = time.monotonic() + timeout_s
    while command.poll() is None and time.monotonic() < end_s:
        stage.tend()
    return command.poll()


class _Logs:
    """What programs write into their logs from now on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sizes = {path: path.stat().st_size for path in folder.glob("*.log")}

    def where(self, text: str) -> str:
        """Names of the logs that have this text, empty when none has."""
        return " ".join(sorted(path.name for path in self._folder.glob("*.log") if self._has(path, text)))

    def have(self, text: str) -> bool:
        return bool(self.where(text))

    def _has(self, path: Path, text: str) -> bool:
        with path.open("rb") as log:
            log.seek(self._sizes.get(path, 0))
            return text.encode() in log.read()
