"""A live stream into Kafka, from the generator or from CSV files of store events.

Without files: generated events, each sent at its event_time, or as fast as it can with --rate 0. With files: all their
rows in the order of event_time, at so many rows a second, or at so many times the recorded clock. At a pace it is an
open loop: when sending falls behind, that is said, and what is due is sent at once.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ingest.console import Progress, stop_on_signals
from ingest.generated import live_start, produce_bulk, produce_live
from ingest.live import WALL, Sent, send_when_due
from ingest.live_producer import LiveProducer
from ingest.producer import EventProducer
from ingest.recorded import at_rate, at_speed, check_files, in_order, recorded
from lakehouse.errors import InputError, LakehouseError
from lakehouse.settings import Settings, load_settings

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


def parse(arguments: Sequence[str] | None) -> tuple[Wish, str | None]:
    """What the command line wishes, and where Kafka is if it says so.

    :raises InputError: numbers or options that do not go together.
    """
    parser = argparse.ArgumentParser(prog="python -m ingest.produce", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="CSV file of store events (none: generate)")
    parser.add_argument(
        "--rate", type=float, help="rows a second (100 without files); 0, without files: as fast as it can"
    )
    parser.add_argument("--speed", type=float, help="files: so many times the recorded clock (1); 60: an hour a minute")
    parser.add_argument("--live", action="store_true", help="files: event_time becomes the time at which a row is due")
    parser.add_argument("--seconds", type=float, default=math.inf, help="for how long (until the end, or stopped)")
    parser.add_argument("--seed", type=int, help="without files: with the start, decides the events (1)")
    parser.add_argument("--bootstrap", help="host:port of Kafka, instead of LAKEHOUSE_KAFKA_BOOTSTRAP")
    given = parser.parse_args(arguments)
    if not given.seconds >= 0:
        raise InputError(f"--seconds {given.seconds:g}.", "a number from 0 up", "correct the command")
    rate, speed = (_from_files if given.files else _generated)(given)
    seed = DEFAULT_SEED if given.seed is None else given.seed
    return Wish(tuple(given.files), rate, speed, given.seconds, seed, given.live), given.bootstrap


def _from_files(given: argparse.Namespace) -> tuple[float | None, float | None]:
    if given.seed is not None:
        raise InputError("--seed with files.", "--seed for generated events only", "leave one of them out")
    if given.rate is not None and given.speed is not None:
        raise InputError(f"--rate {given.rate:g} and --speed {given.speed:g}.", "one of them", "leave the other out")
    for name, number in (("--rate", given.rate), ("--speed", given.speed)):
        if number is not None and not 0 < number < math.inf:
            raise InputError(f"{name} {number:g} with files.", "a number above 0", "correct the command")
    return given.rate, given.speed or (None if given.rate else DEFAULT_SPEED)


def _generated(given: argparse.Namespace) -> tuple[float | None, float | None]:
    for name, is_given in (("--speed", given.speed is not None), ("--live", given.live)):
        if is_given:
            raise InputError(f"{name} without files.", "CSV files to play back", "name them, or use --rate")
    rate = DEFAULT_RATE_PER_S if given.rate is None else given.rate
    seed = DEFAULT_SEED if given.seed is None else given.seed
    if not 0 <= rate < math.inf or seed < 0:
        raise InputError(f"--rate {rate:g} --seed {seed}.", "numbers from 0 up", "correct the command")
    return rate, None


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Exit code 0 when all is sent or somebody stopped it."""
    progress = Progress()
    try:
        wish, bootstrap = parse(arguments)
        should_stop = stop_on_signals()
        sent = produce(load_settings(kafka_bootstrap=bootstrap), wish, progress, should_stop)
    except LakehouseError as error:
        return progress.fail(error)
    except KeyboardInterrupt:  # the second Ctrl-C
        return 130
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
    raise SystemExit(main())
