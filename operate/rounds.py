"""The slower tables in processes of their own: sessions and gold beyond product_sales, carts, scores.

They share the machine with the sales and wait for them: when these die or are busy no sale is late. Carts and scores,
which have a promise to keep, go before the rest (docs/decisions/0017-rounds-apart.md).
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial

from pyspark.sql import SparkSession

from gold.carts import Carts, all_is_read
from gold.ledger import Ledger
from lakehouse import commits, manifests
from lakehouse.jobs import in_session
from lakehouse.rounds import alongside, in_rounds
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from lakehouse.tables import GOLD_FUNNEL, SILVER_EVENTS
from lakehouse.topics import GoldTopics
from operate.ready import say_ready
from operate.services import process
from silver.sessions_writer import SessionsWriter

_LOOK_S = 0.5

log = logging.getLogger("lakehouse")

Works = Callable[[SparkSession, Settings, Stop], tuple[AbstractContextManager[None], ...]]


@dataclass(frozen=True)
class Group:
    """What one process does.

    :param writes: the tables it is the one writer of, as locks name them.
    :param niceness: how far it gives way.
    :param works: begins the works. At the end each takes in what is left, from the last to the first.
    :param wait: see `in_session`.
    """

    writes: tuple[str, ...]
    niceness: int
    works: Works
    wait: Callable[[Settings, Stop], bool] = lambda _settings, _stop: True


def _slow(spark: SparkSession, settings: Settings, stop: Stop) -> tuple[AbstractContextManager[None], ...]:
    topics = GoldTopics(settings)
    ledger = Ledger(spark, settings, topics)
    return (
        in_rounds(ledger.works, settings.round_s, stop, at_once=True, at_stop=True),
        alongside(lambda own: SessionsWriter(spark, settings, topics).follow(own, once=False), stop),
    )


def _carts(spark: SparkSession, settings: Settings, stop: Stop) -> tuple[AbstractContextManager[None], ...]:
    carts = Carts(spark, settings, GoldTopics(settings), lambda: all_is_read(spark, settings))
    return (in_rounds((carts.round,), settings.carts_s, stop, is_urgent=True, at_once=True),)


def _scores(spark: SparkSession, settings: Settings, stop: Stop) -> tuple[AbstractContextManager[None], ...]:
    from ml.score import works  # what only the extra `ml` brings

    return works(spark, settings, GoldTopics(settings), stop)


def _trained_scores(spark: SparkSession, settings: Settings, stop: Stop) -> tuple[AbstractContextManager[None], ...]:
    """Trains the models that have no champion, then scores by them. First the tables that somebody looks at have their
    first rows, the funnel's being the last.
    """
    from ml.train import train_missing

    def work(own: Stop) -> None:
        while commits.current_version(spark, GOLD_FUNNEL, settings) < 1 and not own.wait(_LOOK_S):
            pass
        train_missing(spark, settings, Stop())  # whoever waits for the end of a run waits for both models
        with ExitStack() as until_stopped:
            for each in _scores(spark, settings, own):
                until_stopped.enter_context(each)
            while not own.wait(_LOOK_S):
                pass

    return (alongside(work, stop),)


def _wait_for_champion(settings: Settings, stop: Stop) -> bool:
    from ml.score import wait_for_champion

    say_ready(settings, "scores")  # until somebody trains, there is nothing else to do
    return wait_for_champion(settings, stop)


GROUPS = {
    "rounds": Group(("sessions", "ledger"), 7, _slow),
    "carts": Group(("carts",), 4, _carts),
    "scores": Group(("scores",), 7, _scores, _wait_for_champion),
}
"""The processes by name."""

TRAINED_SCORES = replace(GROUPS["scores"], writes=("scores", "ml"), works=_trained_scores, wait=Group.wait)
"""Scores that do not wait for somebody to train."""


def together(groups: Sequence[Group]) -> Group:
    """One process for all of them. Their works end in the order of the groups: each takes in what those before made."""
    if len(groups) == 1:
        return groups[0]

    def works(spark: SparkSession, settings: Settings, stop: Stop) -> tuple[AbstractContextManager[None], ...]:
        return tuple(work for group in reversed(groups) for work in group.works(spark, settings, stop))

    writes = tuple(name for group in groups for name in group.writes)
    return Group(writes, max(group.niceness for group in groups), works)


WRITES = tuple(name for group in GROUPS.values() for name in group.writes)


def follow(group: Group, name: str, spark: SparkSession, settings: Settings, stop: Stop) -> None:
    """Keeps the tables of a group up with silver.events until stopped; then takes in what is left.

    :param name: of the program.
    """
    if not _is_there_to_go_on(spark, settings, stop):
        return
    with ExitStack() as until_stopped:
        for work in group.works(spark, settings, stop):
            until_stopped.enter_context(work)
        log.info("running")
        say_ready(settings, name)
        while not stop.wait(_LOOK_S):
            pass


def _is_there_to_go_on(spark: SparkSession, settings: Settings, stop: Stop) -> bool:
    """Waits for silver.events, and for the pipeline to finish a rebuild that was cut short. Out: False if stopped."""
    while True:
        manifest = manifests.newest(spark, settings)
        is_whole = manifest is None or manifest.done_at is not None
        if is_whole and commits.current_version(spark, SILVER_EVENTS, settings) >= 0:
            return True
        if stop.wait(_LOOK_S):
            return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m operate.rounds", description="Keeps the slower tables.")
    parser.add_argument("names", nargs="+", choices=GROUPS, metavar="NAME", help=f"which of {', '.join(GROUPS)}")
    parser.add_argument("--train", action="store_true", help="scores: train first the models that have no champion")
    given = parser.parse_args()
    known = GROUPS | {"scores": TRAINED_SCORES} if given.train else GROUPS
    group = together([known[name] for name in given.names])
    process.give_way(group.niceness)
    return in_session(given.names[0], group.writes, partial(follow, group, given.names[0]), group.wait)


if __name__ == "__main__":
    sys.exit(main())
