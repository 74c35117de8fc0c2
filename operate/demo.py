"""`lakehouse demo`: the main job on embedded engines, with something to look at, and an end."""

from __future__ import annotations

import math
import sys
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from ingest.csv_rows import open_csv
from ingest.input_folder import csv_files_in
from lakehouse.errors import InputError
from lakehouse.pulse import read_pulse
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from operate.sales_view import SalesView
from operate.screen import Screen
from operate.stack import Stack, only_run
from operate.store_access import how_to_connect
from operate.summary import summarise
from operate.supervisor import Program, tail


def demo(settings: Settings, minutes: float, rate_per_s: float, seed: int, files: list[Path], console: Console) -> int:
    """Runs until the stream or the files are through, or until stopped. Out: 0 if the audit is green or it was stopped.

    :param files: CSV files, or folders of them, to feed instead of a generated stream.
    :raises InputError: no such file.
    """
    paths = csv_files(files)
    stop, began_s = Stop().listen(), time.monotonic()
    title = f"feeding {len(paths)} files" if paths else f"{rate_per_s:g} events/s for {minutes:g} minutes"
    screen = Screen(console, title)
    with only_run(settings, screen.say):
        stack = Stack(settings, screen.say)
        try:
            screen.say(f"The lakehouse lives in {settings.home}; its logs in {settings.logs}.")
            screen.say("Starting Kafka, PostgreSQL and Spark ...")
            stack.start_all(with_source=False)  # the feeder is one itself
            screen.say(f"Running after {time.monotonic() - began_s:.0f} s. Kafka: {stack.settings.kafka_bootstrap}")
            for line in (*stack.live_page(), *stack.mlflow(), *how_to_connect(stack.settings)):
                screen.say(line)
            run = _Run(stack, screen, stop, began_s)
            with screen:
                run.feed(_feeder(stack.settings, minutes, rate_per_s, seed, paths))
                run.drain()
            screen.say("Stopping Spark; the tables take in what is published ...")
            stack.stop_pipeline(stop)
            is_green = summarise(stack.settings, run.sales, console)
            run.sales.close()
        finally:
            stack.supervisor.stop_all()
    if stop.is_set():
        console.print("Stopped. Nothing is lost: the same command goes on from here.")
    return 0 if is_green or stop.is_set() else 1


def _feeder(settings: Settings, minutes: float, rate_per_s: float, seed: int, paths: list[Path]) -> Program:
    generate = ["ingest.produce", f"--rate={rate_per_s}", f"--seconds={minutes * 60}", f"--seed={seed}"]
    feed = ["operate.feed", *map(str, paths)]
    return Program(
        "feeder",
        [sys.executable, "-m", *(feed if paths else generate)],
        settings.logs / "feeder.log",
        settings.as_environment(),
        restart=False,
    )


def csv_files(places: list[Path]) -> list[Path]:
    """The CSV files among these files and folders, those with the oldest first event first.

    :raises InputError: a place that is not there, or a folder without CSV files.
    """
    found: list[Path] = []
    for place in places:
        here = csv_files_in(place) if place.is_dir() else [place] if place.is_file() else []
        if not here:
            raise InputError(f"{place} has no CSV files.", "a CSV file of store events, or a folder of them")
        found += here
    return sorted(found, key=_first_event_time)


def _first_event_time(path: Path) -> bytes:
    with open_csv(path) as file:
        first = next(file.rows(), None)
        return first.raw[:19] if first and first.raw[:4].isdigit() else b""


class _Run:
    """The part of a demo in which something flows."""

    def __init__(self, stack: Stack, screen: Screen, stop: Stop, began_s: float) -> None:
        self._stack, self._screen, self._stop = stack, screen, stop
        self._began_s = began_s
        self._first_sale = False
        self._looked_at_s = -math.inf
        self._lag: int | None = None
        self.sales = SalesView(stack.settings)

    def feed(self, feeder: Program) -> None:
        """Until the feeder is through."""
        feeder.log.unlink(missing_ok=True)
        supervisor = self._stack.supervisor
        supervisor.start(feeder)
        said = 0
        while supervisor.exit_code("feeder") is None and not self._stop.is_set():
            said = self._pass_on(feeder.log, said)
            self._look("running")
        supervisor.stop("feeder")
        self._pass_on(feeder.log, said)

    def drain(self) -> None:
        """Until all that was fed is published."""
        self._looked_at_s, self._lag = -math.inf, None
        while self._lag != 0 and not self._stop.is_set():
            self._look("draining")

    def _look(self, state: str) -> None:
        self._stack.supervisor.watch()
        self.sales.poll(0.2)
        pulse = read_pulse(self._stack.settings)
        if self.sales.freshness_s and not self._first_sale:
            self._first_sale = True
            self._screen.say(f"First sale {time.monotonic() - self._began_s:.0f} s after the start.")
        if time.monotonic() - self._looked_at_s > 1.0:
            self._looked_at_s, self._lag = time.monotonic(), self._behind(pulse.get("read", {}))
        self._screen.show(pulse, self.sales, self._lag, state)

    def _behind(self, read: dict[str, dict[str, int]]) -> int | None:
        """Offsets that the pipeline has not come to; None while it has not said where it is."""
        places = {(topic, int(partition)): at for topic, at_ in read.items() for partition, at in at_.items()}
        if not places:
            return None
        return sum(end - places[place] for place, end in self.sales.ends(list(places)).items())

    def _pass_on(self, log: Path, said: int) -> int:
        """Shows what the feeder says."""
        with suppress(FileNotFoundError):
            lines = tail(log, 10_000).splitlines()
            for line in lines[said:]:
                self._screen.say(line)
            return len(lines)
        return said
