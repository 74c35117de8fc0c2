"""`lakehouse demo`: the main job on embedded engines, with something to look at, and an end."""

from __future__ import annotations

import math
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ingest.csv_rows import open_csv
from ingest.input_folder import csv_files_in
from lakehouse.errors import InputError
from lakehouse.pulse import read_pulse
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from ml.tracking.score_state import read_scores
from operate import live
from operate.generated_feed import HOLDOUT_DAYS, STREAM_STARTS
from operate.java import COMPILE_QUICKLY, INTERPRET_ROWS
from operate.sales_view import SalesView
from operate.screen import Screen
from operate.stack import PAGE, Source, Stack, running_stack
from operate.store_access import how_to_connect
from operate.summary import summarise
from operate.supervisor import Program, tail

FEEDER, FEEDER_LOG = "feeder", "feeder.log"
_SHORT_MINUTES = 10.0
"""So long a demo is too short for what Java's second compiler would gain."""

_OF_THE_SHOP = {
    "ml_holdout_days": HOLDOUT_DAYS,
    "ml_leak_cut_offs": 2,
    "trigger_ms": 1_500,  # batches without a pause are no sooner published: the slower tables wait for a core then
}

_NO_SALE_S = 10.0
"""So long after its begin, a stream without a sale is no reason to wait any more."""


def demo(
    settings: Settings,
    console: Console,
    minutes: Annotated[float, typer.Option(help="minutes of stream")] = 3.0,
    rate_per_s: Annotated[float, typer.Option("--rate", metavar="R", help="events per second")] = 100.0,
    seed: Annotated[int, typer.Option(help="of the generated stream")] = 1,
    files: Annotated[
        list[Path] | None, typer.Option(metavar="FILE...", help="CSV files, or folders of them, to feed instead")
    ] = None,
) -> int:
    """Until the stream or the files are through, or until stopped. Exit code 0 if the audit is green or it was stopped.

    :raises InputError: no such file.
    """
    paths = csv_files(files or [])
    stop, began_s, is_green = Stop().listen(), time.monotonic(), True
    title = f"feeding {len(paths)} files" if paths else f"{rate_per_s:g} events/s for {minutes:g} minutes"
    generate = ["operate.generated_feed", f"--rate={rate_per_s}", f"--seconds={minutes * 60}", f"--seed={seed}"]
    source = _feeder(["operate.feed", *map(str, paths)] if paths else generate)
    is_short = not paths and minutes <= _SHORT_MINUTES
    if is_short:
        os.environ.setdefault("JAVA_TOOL_OPTIONS", COMPILE_QUICKLY)
    screen = Screen(console, title)
    with running_stack(settings if paths else _of_the_shop(settings), screen.say, stop) as stack:
        screen.say(f"The lakehouse lives in {settings.home}; its logs in {settings.logs}.")
        screen.say("Starting Kafka, PostgreSQL and Spark ...")
        stack.start_kafka()
        stack.start_layers(source)
        stack.wait_for_pipeline()
        screen.say(f"Running after {time.monotonic() - began_s:.0f} s. {stack.kafka}")
        run = _Run(stack, screen, stop, began_s, INTERPRET_ROWS if is_short else "")
        if paths:
            run.serve()
            run.keep_slower_tables(train=False)
        with screen:
            run.feed()
            run.drain()
        if not stop.is_set():
            screen.say("All is published. Stopping; the tables take in what is left ...")
        stack.stop_pipeline(stop, is_through=not stop.is_set())
        if not stop.is_set():
            is_green = summarise(stack.settings, run.sales, console) and not run.feeder_code
        run.sales.close()
    if stop.is_set():
        console.print("Stopped. Nothing is lost: the same command goes on from here; `lakehouse audit` proves it.")
    return 0 if is_green and not stack.supervisor.ended_otherwise else 1


def _of_the_shop(settings: Settings) -> Settings:
    """Settings for a past and a run that are shorter than a store's: unless somebody has chosen."""
    chosen = settings.model_fields_set
    return settings.model_copy(update={name: value for name, value in _OF_THE_SHOP.items() if name not in chosen})


def _feeder(command: list[str]) -> Source:
    def source(settings: Settings) -> Program:
        log = settings.logs / FEEDER_LOG
        log.unlink(missing_ok=True)
        environment = settings.as_environment()
        return Program(FEEDER, [sys.executable, "-m", *command], log, environment, title="the feed", restart=False)

    return source


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
    with open_csv(path, most_broken=1.0) as file:
        first = next(file.rows(), None)
        time = first.fields[file.columns.index("event_time")][:19] if first and not first.reason else b""
        return time if time[:4].isdigit() else b""


class _Run:
    """The part of a demo in which something flows. A generated stream first has the machine for itself: what serves and
    what keeps the slower tables starts after the first sale.
    """

    def __init__(self, stack: Stack, screen: Screen, stop: Stop, began_s: float, java_options: str) -> None:
        self._stack, self._screen, self._stop = stack, screen, stop
        self._java_options = java_options
        self._began_s = began_s
        self._first_sale = self._keeps_slower_tables = self._is_page_awaited = self._are_scores_there = False
        self._stream_began_s = math.inf
        self.feeder_code: int | None = None
        self._looked_at_s = -math.inf
        self._lag: int | None = None
        self.sales = SalesView(stack.settings)

    def feed(self) -> None:
        """Until the feeder is through."""
        supervisor, log, said = self._stack.supervisor, self._stack.settings.logs / FEEDER_LOG, 0
        while supervisor.exit_code(FEEDER) is None and not self._stop.is_set():
            said = self._pass_on(log, said)
            self._look("running")
        self.feeder_code = supervisor.exit_code(FEEDER)
        supervisor.stop(FEEDER)
        self._pass_on(log, said)

    def serve(self) -> None:
        """Says where there is something to look at."""
        self._stack.start_serving()
        for line in how_to_connect(self._stack.settings):
            self._screen.say(line)
        self._is_page_awaited = self._stack.supervisor.is_started(PAGE)

    def keep_slower_tables(self, train: bool) -> None:
        """:param train: models are trained on what the tables have by then."""
        self._keeps_slower_tables = True
        self._stack.start_rounds_together(train, self._java_options)
        self._stack.start_mlflow()
        for line in self._stack.mlflow():
            self._screen.say(line)

    def drain(self) -> None:
        """Until all that was fed is in the tables: the slower ones take it in beside the pipeline's end."""
        self._looked_at_s, self._lag = -math.inf, None
        while self._lag != 0 and not self._stop.is_set():
            self._look("draining", every_s=0.2, to="written")

    def _look(self, state: str, every_s: float = 1.0, to: str = "read") -> None:
        """:param every_s: so often it is asked how far the pipeline is.
        :param to: up to where it is: what it has `read` and published, or `written`.
        """
        self._stack.supervisor.watch()
        self.sales.poll(0.2)
        pulse = read_pulse(self._stack.settings)
        if self.sales.freshness_s and not self._first_sale:
            self._first_sale = True
            self._screen.say(f"First sale {time.monotonic() - self._began_s:.0f} s after the start.")
        has_begun = self._first_sale or time.monotonic() - self._stream_began_s > _NO_SALE_S
        if has_begun and not self._keeps_slower_tables:
            self.serve()
            self.keep_slower_tables(train=True)
        if self._is_page_awaited and live.is_answering(self._stack.settings):
            self._is_page_awaited = False
            self._screen.say(f"Live page: {live.page_address(self._stack.settings, sys.stdout)}")
        if not self._are_scores_there:
            self._say_scores()
        if time.monotonic() - self._looked_at_s > every_s:
            self._looked_at_s, self._lag = time.monotonic(), self._behind(pulse.get(to, {}))
        self._screen.show(pulse, self.sales, self._lag, state)

    def _say_scores(self) -> None:
        models = read_scores(self._stack.settings).get("models", {})
        if all(model.get("scored_at") for model in models.values()) and models:
            self._are_scores_there = True
            which = ", ".join(f"{name} version {model['version']}" for name, model in models.items())
            self._screen.say(f"Scored by {which}: gold.customer_scores, gold.cart_scores.")

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
                if line.endswith(STREAM_STARTS):
                    self._stream_began_s = time.monotonic()
                    self.sales.begin()
            return len(lines)
        return said
