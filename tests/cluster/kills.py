"""What is killed while the layers work, and whether they go on without it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lakehouse.offsets import TopicIds
from lakehouse.tables import BRONZE_EVENTS, GOLD_PRODUCT_SALES, SILVER_EVENTS
from tests.chaos.checks import Check, check
from tests.cluster.stage import Stage, kill

_GO_ON_S = 1_200.0
# Kafka takes 9 s to see that a broker is dead, and has others lead then. To go on asking it takes a minute.
_BRONZE_S = 60
_BROKER = "Kafka broker"
# One of three brokers is dead: among so many of those who asked before, some took it for the controller.
_ASKERS = 12


@dataclass(frozen=True)
class Victim:
    """One of several equal servers. :param start: starts it again."""

    name: str
    kill: Callable[[], None]
    start: Callable[[], None]


def victims(stage: Stage) -> list[Victim]:
    """A worker with its executors, a DataNode, a broker."""

    def worker() -> None:
        stage.spark.start(1)
        stage.spark.wait_for_workers(len(stage.spark.processes))

    def broker() -> None:
        stage.kafka.start(1)
        stage.kafka.wait_until_ready()

    return [
        Victim("Spark worker", lambda: kill(stage.spark.processes[1]), worker),
        Victim("DataNode", lambda: kill(stage.hdfs.processes[1]), lambda: stage.hdfs.start(1)),
        Victim(_BROKER, lambda: kill(stage.kafka.processes[1]), broker),
    ]


def killed(stage: Stage, groups: Sequence[Sequence[Victim]]) -> Iterator[Check]:
    """Kills each group, one after the other, sees that every layer commits something new that came afterwards, and
    starts it again. A piece of the input is kept for each, and one for afterwards.
    """
    stage.allow(1 / (len(groups) + 2))
    stage.wait_for(lambda: _are_ahead(stage, (-1, 0, 0)), "all layers have read something", _GO_ON_S)
    stage.say(f"all layers are at work: {stage.where()}")
    askers = [TopicIds(stage.settings) for _ in range(_ASKERS)]
    for asker in askers:
        asker.now()
    for number, group in enumerate(groups, 2):
        names = " and ".join(victim.name for victim in group)
        for victim in group:
            victim.kill()
        stage.say(f"kill -9: {names}")
        began_s, sent = time.monotonic(), stage.allowed
        if any(victim.name == _BROKER for victim in group):
            yield _asked(askers)
        before = (stage.version(BRONZE_EVENTS), stage.version(SILVER_EVENTS), stage.version(GOLD_PRODUCT_SALES))
        stage.allow(number / (len(groups) + 2))
        stage.wait_for(lambda sent=sent: stage.landed() > sent, f"bronze goes on without {names}", _GO_ON_S)  # type: ignore[misc]
        bronze_s = time.monotonic() - began_s
        stage.wait_for(lambda before=before: _are_ahead(stage, before), f"all layers go on without {names}", _GO_ON_S)  # type: ignore[misc]
        all_s = time.monotonic() - began_s
        for victim in group:
            victim.start()
        stage.say(f"started again: {names}")
        name = f"without {names}: bronze went on within {_BRONZE_S} s, then all layers"
        yield check(name, bronze_s < _BRONZE_S, bronze_s=round(bronze_s), all_s=round(all_s))


def _asked(askers: Sequence[TopicIds]) -> Check:
    """Bronze asks for its topics before each commit: who asked a broker that died has to hear of the others."""
    began_s = time.monotonic()
    with ThreadPoolExecutor(len(askers)) as pool:
        heard = list(pool.map(TopicIds.now, askers))
    seconds = time.monotonic() - began_s
    return check("the broker's death: all who ask for topics are answered", all(heard), seconds=round(seconds, 1))


def _are_ahead(stage: Stage, before: tuple[int, int, int]) -> bool:
    """Has each layer written, and read of the one before it, what is newer than these versions?"""
    bronze, silver, gold = before
    return (
        stage.version(BRONZE_EVENTS) > bronze
        and stage.read(SILVER_EVENTS, "bronze_version") > bronze
        and stage.read(GOLD_PRODUCT_SALES, "silver_version") > silver
        and stage.version(GOLD_PRODUCT_SALES) > gold
    )
