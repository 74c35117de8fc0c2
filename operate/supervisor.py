"""Starts the programs of a run, starts again what dies, and stops them all."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from lakehouse.errors import ServiceError
from lakehouse.settings import Settings
from lakehouse.streams import Stop, StoppedError
from operate.pause import pause_wanted
from operate.programs import ProgramState, write_programs
from operate.services import process

_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _HEALTHY_AFTER_S = 1.0, 30.0, 60.0
_LOOK_S, _SAY_EVERY_S, _END_NOW_S = 0.2, 5.0, 3.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Program:
    """:param title: what a user reads of it; else its name.
    :param stop_timeout_s: how long it may take to end before it is killed.
    :param stop_signal: what asks it to end.
    :param gives_way: it writes the lake, and is stopped while a command has to (operate.pause).
    """

    name: str
    command: list[str]
    log: Path
    environment: dict[str, str] = field(default_factory=dict)
    title: str = ""
    restart: bool = True
    stop_timeout_s: float = 30.0
    stop_signal: int = signal.SIGTERM
    gives_way: bool = False

    @property
    def called(self) -> str:
        return self.title or self.name


@dataclass
class _Running:
    program: Program
    process: subprocess.Popen[bytes]
    started_s: float
    pause_s: float = _FIRST_PAUSE_S
    restart_at_s: float | None = None
    gave_way: bool = False
    since_s: float = field(default_factory=time.time)
    restarts: int = 0
    last_end: str = ""

    def state(self) -> ProgramState:
        is_running = self.restart_at_s is None and not self.gave_way
        program = self.program
        place = (program.called, str(program.log), self.process.pid, self.since_s)
        return ProgramState(*place, is_running, self.restarts, self.last_end, self.gave_way)


class Supervisor:
    """Owns processes. Each is the leader of a session of its own, so that Ctrl-C reaches this process alone, and is
    noted in the home folder, so that what outlives a killed supervisor is found and ended by the next command.

    :param say: gets one line for each thing that a user should know.
    :param stop: once it is set, programs are not waited for to become ready.
    """

    def __init__(self, settings: Settings, say: Say, stop: Stop | None = None) -> None:
        self._settings, self._say, self._stop = settings, say, stop or Stop()
        self._running: dict[str, _Running] = {}
        self.ended_otherwise: list[str] = []
        """Programs that were stopped, and whose exit code says that something was wrong then."""

    def start(self, program: Program) -> None:
        self._running[program.name] = _Running(program, _spawn(program), time.monotonic())
        self._note()

    def wait_until(self, is_ready: Callable[[], bool], name: str, timeout_s: float) -> None:
        """Waits for a program.

        :raises ServiceError: it died, or was not ready in time; the end of its log is shown.
        :raises StoppedError: somebody said stop.
        """
        end_s = time.monotonic() + timeout_s
        program = self._running[name].program
        while not is_ready():
            if self._stop.is_set():
                raise StoppedError(f"stopped while {program.called} started")
            code = self.exit_code(name)
            if code is not None or time.monotonic() > end_s:
                what = f"ended with code {code}" if code is not None else f"was not ready after {timeout_s:.0f} s"
                raise ServiceError(f"{program.called} {what}.\n{tail(program.log)}", "", f"see {program.log}")
            time.sleep(0.05)

    def is_started(self, name: str) -> bool:
        return name in self._running

    def pid(self, name: str) -> int:
        return self._running[name].process.pid

    def exit_code(self, name: str) -> int | None:
        """None while the program runs."""
        return self._running[name].process.poll()

    def watch(self) -> None:
        """Looks at all programs once: says which died, and starts those again whose pause is over; those that give way
        are stopped while a command has to write.
        """
        now_s, wanted = time.monotonic(), pause_wanted(self._settings)
        for running in self._running.values():
            program, code = running.program, running.process.poll()
            if program.gives_way and (wanted or running.gave_way):
                self._give_way(running, wanted)
                continue
            if code is None or not program.restart:
                continue
            if running.restart_at_s is None:
                _kill_session(running.process.pid)
                lasted_s = now_s - running.started_s
                running.pause_s = _FIRST_PAUSE_S if lasted_s > _HEALTHY_AFTER_S else running.pause_s
                running.restart_at_s = now_s + running.pause_s
                self._say(
                    f"{program.called} died ({_how(code)}) after {lasted_s:.0f} s; "
                    f"starting it again in {running.pause_s:.0f} s. Its log: {program.log}"
                )
                running.pause_s = min(running.pause_s * 2, _LONGEST_PAUSE_S)
                running.last_end = f"died ({_how(code)}) after {lasted_s:.0f} s"
                running.since_s = time.time()
                self._note()
            elif now_s >= running.restart_at_s:
                running.process, running.started_s = _spawn(program), now_s
                running.restart_at_s, running.since_s = None, time.time()
                running.restarts += 1
                self._note()

    def _give_way(self, running: _Running, wanted: str | None) -> None:
        program = running.program
        if wanted and not running.gave_way:
            self._say(f"{program.called} stops for {wanted}")
            if _end(running.process.pid, lambda: program.stop_timeout_s, running.process, program.stop_signal):
                self._judge_end(program, running.process.returncode)
            _kill_session(running.process.pid)
            running.gave_way, running.restart_at_s, running.since_s = True, None, time.time()
            self._note()
        elif not wanted:
            self._say(f"{program.called} starts again")
            running.process, running.started_s, running.gave_way = _spawn(program), time.monotonic(), False
            running.since_s = time.time()
            self._note()

    def ask_to_end(self, name: str) -> None:
        """Does not wait for it: `stop` does."""
        running = self._running.get(name)
        if running is not None:
            with suppress(ProcessLookupError):
                os.kill(running.process.pid, running.program.stop_signal)

    def stop(
        self, name: str, patience_s: Callable[[], float] | None = None, left: Callable[[], str] = lambda: ""
    ) -> None:
        """Asks a program to end, and kills it with all that it started when it does not. Says so, and that it waits.

        :param patience_s: how long it may take, asked again and again; else the program's `stop_timeout_s`.
        :param left: how much it still has to do, as a user reads it.
        """
        running = self._running.get(name)
        if running is None:
            return
        program = running.program
        limit_s = patience_s or (lambda: program.stop_timeout_s)

        def waiting(waited_s: float) -> None:
            self._say(f"waiting for {_with(program.called, left())}; {waited_s:.0f} s so far")

        if running.gave_way:
            pass  # has ended, and its end was judged
        elif _end(running.process.pid, limit_s, running.process, program.stop_signal, waiting):
            self._judge_end(program, running.process.wait())
        else:
            self._say(
                f"{_with(program.called, left())} took too long and was ended; the next start goes on there. "
                f"Its log: {program.log}"
            )
        del self._running[name]
        self._note()

    def _judge_end(self, program: Program, code: int) -> None:
        """A program that ends by itself may still not have done what it was asked to do last."""
        # A JVM, and a shell, say 128 and the signal.
        if code not in (0, -program.stop_signal, 128 + program.stop_signal):
            self.ended_otherwise.append(program.name)
            self._say(f"{program.called} ended with {_how(code)} instead of being through. Its log: {program.log}")

    def stop_all(self) -> None:
        """In the reverse order of their start."""
        for name in reversed(list(self._running)):
            self.stop(name)

    def end_now(self) -> None:
        """Ends all programs without waiting for what they have left to do: all are asked at once, and killed some
        seconds later. The next start goes on from what they had written.
        """
        for running in self._running.values():
            with suppress(ProcessLookupError):
                os.kill(running.process.pid, running.program.stop_signal)
        end_s = time.monotonic() + _END_NOW_S
        while time.monotonic() < end_s and any(each.process.poll() is None for each in self._running.values()):
            time.sleep(0.05)
        for running in self._running.values():
            _kill_session(running.process.pid)
            running.process.wait()
        self._running.clear()
        self._note()

    def _note(self) -> None:
        path = _notes(self._settings)
        path.parent.mkdir(parents=True, exist_ok=True)
        notes = {name: _identity(running.process.pid) for name, running in self._running.items()}
        path.write_text(json.dumps(notes), encoding="utf-8")
        write_programs(self._settings, (running.state() for running in self._running.values()))


def end_leftovers(settings: Settings) -> list[str]:
    """Ends programs that outlived the supervisor which started them. Out: their names."""
    left = programs_in(settings)
    for pid in reversed(left.values()):
        _end(pid, lambda: 15.0)
    _notes(settings).unlink(missing_ok=True)
    return list(left)


def programs_in(settings: Settings) -> dict[str, int]:
    """The programs that run in a home folder, in the order of their start: name -> process id."""
    try:
        notes = json.loads(_notes(settings).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return {name: pid for name, (pid, born) in notes.items() if [pid, born] == _identity(pid)}


def tail(log: Path, lines: int = 12) -> str:
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


def _notes(settings: Settings) -> Path:
    return settings.home / "run" / "processes.json"


def _identity(pid: int) -> list[float]:
    """A process id is used again some day; with the time of its birth it is not."""
    try:
        return [pid, psutil.Process(pid).create_time()]
    except psutil.NoSuchProcess:
        return [pid, 0.0]


def _spawn(program: Program) -> subprocess.Popen[bytes]:
    # Of a program that is started again and again, Spark's log is one too.
    spark_log = {"SPARK_LOG_FILE": str(program.log.with_name(f"spark-{program.log.stem}.log"))}
    return process.spawn(program.command, program.log, os.environ | spark_log | program.environment)


def _end(
    pid: int,
    limit_s: Callable[[], float],
    child: subprocess.Popen[bytes] | None = None,
    stop_signal: int = signal.SIGTERM,
    waiting: Callable[[float], None] = lambda _waited_s: None,
) -> bool:
    """Out: did it end by itself? :param waiting: is told now and then how long it has been waited."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        family[0].send_signal(stop_signal)
    except psutil.NoSuchProcess:
        family = []
    began_s = said_s = time.monotonic()
    while True:
        left_s = began_s + limit_s() - time.monotonic()
        has_ended = _ends_within(max(0.0, min(_LOOK_S, left_s)), family[:1], child)
        if has_ended or left_s <= 0:
            break
        if time.monotonic() - said_s >= _SAY_EVERY_S:
            said_s = time.monotonic()
            waiting(said_s - began_s)
    # Its JVM goes with it; what does not after a moment, is killed.
    _, alive = psutil.wait_procs(family, 5.0 if has_ended else 0.0)
    for member in alive:
        with suppress(ProcessLookupError):
            os.kill(member.pid, signal.SIGKILL)
    psutil.wait_procs(alive, 5.0)
    if child is not None:
        child.wait()
    return has_ended


def _ends_within(limit_s: float, process: list[psutil.Process], child: subprocess.Popen[bytes] | None) -> bool:
    """A child is asked by its own parent's means: psutil would take its exit code, which is given out once."""
    if child is None:
        return not psutil.wait_procs(process, limit_s)[1]
    with suppress(subprocess.TimeoutExpired):
        child.wait(limit_s)
    return child.returncode is not None


def _with(title: str, left: str) -> str:
    return f"{title}: {left}" if left else title


def _kill_session(leader: int) -> None:
    """What a dead program started must not go on writing beside its successor."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
