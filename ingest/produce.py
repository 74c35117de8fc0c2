"""A live stream into Kafka, from the generator or from CSV files of store events.

Without files: generated events, each sent at its event_time, or as fast as it can with --rate 0. With files: all their
rows in the order of event_time, at so many rows a second, or at so many times the recorded clock. At a pace it is an
open loop: when sending falls behind, that is said, and what is due is sent at once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from ingest.console import Progress, stop_on_signals
from ingest.generated import live_start, produce_bulk, produce_live
from ingest.live import WALL, Sent, send_when_due
from ingest.live_producer import LiveProducer
from ingest.producer import EventProducer
from ingest.recorded import at_rate, at_speed, check_files, in_order, recorded
from lakehouse.command import Flag, run_alone
from lakehouse.errors import InputError, LakehouseError
from lakehouse.settings import Settings

LATE_S = 1.0  # a stream that is this far behind its clock says so
QUIET_S = 5.0  # the progress line says how long it is until the next row, if it is longer than this
LONG_QUIET_S = 600.0  # and a line that stays says this
BULK_AGE_S = 86_400.0
DEFAULT_RATE_PER_S, DEFAULT_SPEED, DEFAULT_SEED = 100.0, 1.0, 1


@dataclass(frozen=True)
class Wish:
    """What to send. With files exactly one of rate and speed is set; without, the rate is.

    :param rate_per_s: rows a second; 0, only without files, is as fast as it can.
    :param speed: how many times as fast as recorded.
    :param seconds: for how long.
    :param is_live: event_time becomes the moment at which a row is due.
    """

    files: tuple[Path, ...] = ()
    rate_per_s: float | None = None
    speed: float | None = None
    seconds: float = math.inf
    seed: int = DEFAULT_SEED
    is_live: bool = False


def wish_of(
    files: Sequence[Path] = (),
    rate: float | None = None,
    speed: float | None = None,
    is_live: bool = False,
    seconds: float = math.inf,
    seed: int | None = None,
) -> Wish:
    """What the options wish.

    :raises InputError: numbers or options that do not go together.
    """
    if not seconds >= 0:
        raise InputError(f"--seconds {seconds:g}.", "a number from 0 up", "correct the command")
    if files:
        rate, speed = _of_files(rate, speed, seed)
        return Wish(tuple(files), rate, speed, seconds, is_live=is_live)
    for name, is_given in (("--speed", speed is not None), ("--live", is_live)):
        if is_given:
            raise InputError(f"{name} without files.", "CSV files to play back", "name them, or use --rate")
    rate = DEFAULT_RATE_PER_S if rate is None else rate
    seed = DEFAULT_SEED if seed is None else seed
    if not 0 <= rate < math.inf or seed < 0:
        raise InputError(f"--rate {rate:g} --seed {seed}.", "numbers from 0 up", "correct the command")
    return Wish((), rate, None, seconds, seed)


def _of_files(rate: float | None, speed: float | None, seed: int | None) -> tuple[float | None, float | None]:
    if seed is not None:
        raise InputError("--seed with files.", "--seed for generated events only", "leave one of them out")
    if rate is not None and speed is not None:
        raise InputError(f"--rate {rate:g} and --speed {speed:g}.", "one of them", "leave the other out")
    for name, number in (("--rate", rate), ("--speed", speed)):
        if number is not None and not 0 < number < math.inf:
            raise InputError(f"{name} {number:g} with files.", "a number above 0", "correct the command")
    return rate, speed or (None if rate else DEFAULT_SPEED)


def produce_stream(
    settings: Annotated[
        Settings, Flag("kafka_bootstrap", "--bootstrap", "host:port of Kafka, instead of LAKEHOUSE_KAFKA_BOOTSTRAP")
    ],
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="CSV file of store events (none: generate)")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="rows a second (100 without files); 0, without files: as fast as it can")
    ] = None,
    speed: Annotated[
        float | None, typer.Option(help="files: so many times the recorded clock (1); 60: an hour a minute")
    ] = None,
    is_live: Annotated[
        bool, typer.Option("--live", help="files: event_time becomes the time at which a row is due")
    ] = False,
    seconds: Annotated[
        float, typer.Option(help="for how long (until the end, or stopped)", show_default=False)
    ] = math.inf,
    seed: Annotated[int | None, typer.Option(help="without files: with the start, decides the events (1)")] = None,
) -> int:
    """Without files: generated events, each sent at its event_time. With files: all their rows in the order of
    event_time, at so many rows a second, or at so many times the recorded clock. When sending falls behind, that is
    said, and what is due is sent at once. Exit code 0 when all is sent or somebody stopped it.
    """
    progress = Progress()
    try:
        wish = wish_of(files or (), rate, speed, is_live, seconds, seed)
        sent = produce(settings, wish, progress, stop_on_signals())
    except LakehouseError as error:
        return progress.fail(error)
    what = f"rows sent, {sent.unreadable:,} of them unreadable" if wish.files else "events sent"
    progress.say(f"{sent.events:,} {what}; at worst {sent.worst_behind_s:.2f} s behind the clock")
    return 0


def produce(settings: Settings, wish: Wish, progress: Progress, should_stop: Callable[[], bool]) -> Sent:
    """Send what is wished for, and say how it goes.

    :raises InputError: a file that cannot be read; before anything is sent.
    :raises ServiceError: Kafka is away.
    """
    check_files(wish.files)
    show = _Shown(progress, with_time=bool(wish.files))
    topic = settings.events_topic
    if not wish.files and not wish.rate_per_s:
        now, begun_s = datetime.now(UTC), time.monotonic()
        return produce_bulk(
            EventProducer(settings),
            topic,
            wish.seed,
            now - timedelta(seconds=BULK_AGE_S),
            until_at=now,
            should_stop=lambda: should_stop() or time.monotonic() - begun_s >= wish.seconds,
            on_progress=show,
        )
    with closing(LiveProducer(settings)) as producer:
        if not wish.files:
            rate = wish.rate_per_s or DEFAULT_RATE_PER_S
            start_at = live_start(WALL, rate)
            return produce_live(producer, topic, wish.seed, start_at, rate, wish.seconds, should_stop, show)
        rows, start_s = in_order(wish.files, settings.max_unreadable_share), WALL.now()
        paced = at_speed(rows, start_s, wish.speed) if wish.speed else at_rate(rows, start_s, wish.rate_per_s or 0)
        blocks = recorded(paced, topic, settings.unreadable_topic, wish.is_live)
        return send_when_due(producer, blocks, start_s + wish.seconds, should_stop, show)


class _Shown:
    """The progress line, and lines that stay: behind, on time again, a long wait."""

    def __init__(self, progress: Progress, with_time: bool) -> None:
        self._progress, self._with_time, self._begun_s = progress, with_time, time.monotonic()
        self._is_late = self._is_long = False

    def __call__(self, sent: Sent) -> None:
        if (sent.behind_s > LATE_S) != self._is_late:
            self._is_late = not self._is_late
            late = f"behind by {sent.behind_s:.1f} s, catching up"
            self._progress.say(late if self._is_late else "on time again")
        if sent.quiet_s > LONG_QUIET_S and not self._is_long:
            self._progress.say(f"{sent.events:,} rows sent; the next is due in {duration(sent.quiet_s)}")
        # Until the stretch ends, not only until it is shorter than this: one line for each.
        self._is_long = sent.quiet_s > LONG_QUIET_S or (self._is_long and sent.quiet_s > 0)
        rate = sent.events / (time.monotonic() - self._begun_s)
        now_at = f", {sent.at:%Y-%m-%d %H:%M}" if self._with_time and sent.at else ""
        quiet = f", the next in {duration(sent.quiet_s)}" if sent.quiet_s > QUIET_S else ""
        self._progress.show(f"{sent.events:,} events, {rate:,.0f}/s{now_at}{quiet}")


def duration(seconds: float) -> str:
    """1:02:03, or days."""
    return f"{seconds / 86_400:,.1f} days" if seconds >= 86_400 else str(timedelta(seconds=int(seconds)))


if __name__ == "__main__":
    raise SystemExit(run_alone(produce_stream))
