"""Kills, restarts, a full disk and a rebuild while the real stack works; then every table against a plain calculation.

    python -m tests.chaos [--seed S] [--kills N] [--stops N] [--short] [--keep]

Everything is in a temporary folder with a broker of its own. Everything random comes from the seed and the day. The
last line is `N passed, N failed`, with `, N skipped` after it where something could not be done; exit code 1 when
something failed. A full disk needs root, for a small filesystem to mount.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

from confluent_kafka import KafkaException

from lakehouse.errors import LakehouseError
from lakehouse.settings import load_settings
from lakehouse.streams import Stop
from operate.java import COMPILE_QUICKLY, INTERPRET_ROWS
from operate.supervisor import Say, tail
from tests.chaos.checks import Check, check
from tests.chaos.disturbances import (
    Disturbance,
    fill_disk,
    kill_beside,
    kill_pipeline,
    rebuild,
    restart_kafka,
    stop,
    take_postgres_away,
)
from tests.chaos.feed import Feed
from tests.chaos.outcome import outcome_checks
from tests.chaos.report import Clock, reported, temporary_folder
from tests.chaos.sendings import Sending, as_table, made_input, spread
from tests.chaos.small_disk import SmallDisk
from tests.chaos.stage import Stage
from tests.services.runs import ODD_HOME, running

_KEPT = ("rounds", "carts")
"""What keeps the slower tables; nobody trains here, so scores wait for a champion all the time."""

LONG_RECORDS, SHORT_RECORDS = 60_000, 15_000
LONG_KILLS, SHORT_KILLS = 10, 2
LONG_STOPS, SHORT_STOPS = 12, 2
LONG_AWAY_S, SHORT_AWAY_S = 60.0, 5.0
_RATE_PER_S, _DISK_MB = 600.0, 512
_SETTINGS = {
    # Small batches are many, and there is always one for a kill to hit.
    "max_batch_rows": 2_000,
    "topic_partitions": 3,
    "round_s": 4.0,
    "sessions_s": 4.0,
    "sessions_bulk_events": 2_000,
    "carts_s": 2.0,
    "sales_window_s": 6 * 3_600,
    # Most copies and late sales are then looked up in the tables.
    "recent_rows": 5_000,
    "kafka_port": 0,
    "kafka_bootstrap": "",
}


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    seed = random.SystemRandom().randrange(10**6) if given.seed is None else given.seed
    kills = given.kills if given.kills is not None else SHORT_KILLS if given.short else LONG_KILLS
    stops = given.stops if given.stops is not None else SHORT_STOPS if given.short else LONG_STOPS
    if given.short:
        os.environ["JAVA_TOOL_OPTIONS"] = f"{COMPILE_QUICKLY} {INTERPRET_ROWS}"
    say = Clock()
    again = f"python -m tests.chaos --seed {seed} --kills {kills} --stops {stops}{' --short' if given.short else ''}"
    say(f"seed {seed}: {again}")
    return reported(run(seed, kills, stops, given.short, given.keep, say))


def run(seed: int, kills: int, stops: int, short: bool, keep: bool, say: Say) -> Generator[Check]:
    """All of it. What goes wrong on the way is a failed check, and the last."""
    chance = random.Random(seed)
    input_ = made_input(SHORT_RECORDS if short else LONG_RECORDS, seed, datetime.now(UTC))
    with temporary_folder("chaos-", keep, say) as folder, ExitStack() as at_end:
        disk, why_not = _small_disk(folder, at_end)
        lake = str(disk.folder / "lake") if disk else ""
        settings = load_settings(home=folder / ODD_HOME, lake=lake, **_SETTINGS)
        if disk and keep:
            at_end.callback(shutil.copytree, lake, folder / "lake", dirs_exist_ok=True)
        sendings = spread(input_, settings.topic_partitions, seed)
        good = [record.value for record in input_ if not record.rules]
        copies, broken = len(good) - len(set(good)), len(input_) - len(good)
        partitions = settings.topic_partitions
        say(f"{len(input_):,} records over {partitions} partitions: {copies:,} copies, {broken:,} broken")
        try:
            with running(settings, say) as stack:
                stage = Stage(stack, Feed(stack.settings, sendings, _RATE_PER_S), say)
                stage.wait_until_running()
                yield from _disturbed(stage, _plan(stage, chance, kills, stops, short, disk, why_not))
                yield from _compared(stage, sendings)
        except (AssertionError, LakehouseError, KafkaException, OSError) as error:
            say(f"the pipeline's log ends with\n{tail(settings.logs / 'pipeline.log', 40)}")
            yield check("the run itself", False, error=f"{type(error).__name__}: {error}")


def _plan(
    stage: Stage, chance: random.Random, kills: int, stops: int, short: bool, disk: SmallDisk | None, why_not: str
) -> list[Disturbance]:
    """What is done, in a random order; the rebuild in the middle, where there is something to build from."""
    plan: list[Disturbance] = [
        lambda number=number: kill_pipeline(stage, chance, number)  # type: ignore[misc]
        for number in range(1, kills + 1)
    ]
    others = (
        lambda: restart_kafka(stage, chance),
        lambda: fill_disk(stage, chance, disk, why_not),
        lambda: kill_beside(stage, chance, "PostgreSQL"),
        lambda: kill_beside(stage, chance, "sink"),
        lambda: kill_beside(stage, chance, "rounds"),
        lambda: kill_beside(stage, chance, "carts"),
        lambda: take_postgres_away(stage, chance, SHORT_AWAY_S if short else LONG_AWAY_S),
    )
    asked = (
        lambda name=name, number=number: stop(stage, chance, name, number)  # type: ignore[misc]
        for number, name in zip(range(1, stops + 1), cycle(("rounds", "pipeline", "carts")))
    )
    for one in (*others, *asked):
        plan.insert(chance.randrange(len(plan) + 1), one)
    plan.insert(len(plan) // 2, lambda: rebuild(stage, chance, kill_first=not short))
    return plan


def _disturbed(stage: Stage, plan: Sequence[Disturbance]) -> Iterator[Check]:
    for number, disturbance in enumerate(plan, 1):
        # A piece of the input for each, so that none of them finds the pipeline idle; and one for afterwards.
        stage.feed.allow(number / (len(plan) + 1))
        yield disturbance()


def _compared(stage: Stage, sendings: Sequence[Sending]) -> Iterator[Check]:
    stage.drain()
    for name in _KEPT:
        stage.wait_for(lambda name=name: stage.has_begun(name), f"{name}, to take in what is left", 180.0)  # type: ignore[misc]
    stage.say("all is read; the pipeline is stopped, then compared with the plain calculation")
    refused = len(stage.feed.refused)
    yield check("feed: all acknowledged", not refused, acknowledged=stage.feed.acknowledged, refused=refused)
    stage.stack.stop_pipeline(Stop())  # however slow the machine is: this is about what is in the tables
    otherwise = stage.stack.supervisor.ended_otherwise
    yield check("programs: all ended as they were asked to", not otherwise, otherwise=", ".join(otherwise) or "none")
    for name in _KEPT:
        end = tail(stage.settings.logs / f"{name}.log", 1)
        yield check(f"{name}: took in what was left", end.endswith(f"{name}: stopped"), log_ends_with=end)
    yield from outcome_checks(as_table(sendings), stage.settings)


def _small_disk(folder: Path, at_end: ExitStack) -> tuple[SmallDisk | None, str]:
    """A disk that can be full, or why there is none."""
    try:
        disk = SmallDisk(folder / "small", _DISK_MB)
    except OSError as error:
        return None, str(error.strerror)
    at_end.callback(disk.unmount)
    return disk, ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seed", type=int, help="repeats a run's input and its random choices (random)")
    parser.add_argument("--kills", type=int, help=f"of the pipeline ({LONG_KILLS}; with --short {SHORT_KILLS})")
    parser.add_argument("--stops", type=int, help=f"in the middle of work ({LONG_STOPS}; with --short {SHORT_STOPS})")
    parser.add_argument("--short", action="store_true", help=f"{SHORT_RECORDS:,} records instead of {LONG_RECORDS:,}")
    parser.add_argument("--keep", action="store_true", help="leave the temporary folder with lake and logs behind")
    return parser


if __name__ == "__main__":
    sys.exit(main())
