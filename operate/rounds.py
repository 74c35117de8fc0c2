"""The slower tables in a process of their own: sessions, carts, and gold beyond product_sales.

They share the machine with the sales and wait for them: this process gives way to all others, and when it dies
or is busy no sale is late (docs/decisions/0017-rounds-apart.md).
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from pathlib import Path

from pyspark.sql import SparkSession

from gold.carts import Carts, all_is_read
from gold.ledger import Ledger
from lakehouse import commits, manifests
from lakehouse.jobs import in_session
from lakehouse.rounds import alongside, in_rounds
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from lakehouse.tables import SILVER_EVENTS
from lakehouse.topics import GoldTopics
from silver.visits import Visits

WRITES = ("sessions", "ledger")

_LOOK_S, _NICENESS = 0.5, 10

log = logging.getLogger("lakehouse")


def follow(spark: SparkSession, settings: Settings, stop: Stop) -> None:
    """Keeps the tables up with silver.events until stopped; then takes in what is left."""
    if not _is_there_to_go_on(spark, settings, stop):
        return
    topics = GoldTopics(settings)
    ledger = Ledger(spark, settings, topics)
    carts = Carts(spark, settings, topics, lambda: all_is_read(spark, settings))
    log.info("rounds: running")
    # At the end each takes in what is left, from the inside out.
    with (
        in_rounds((carts.round,), settings.carts_s, stop),
        in_rounds((ledger.round,), settings.round_s, stop),
        alongside(lambda own: Visits(spark, settings, topics).follow(own, once=False), stop),
    ):
        while not stop.wait(_LOOK_S):
            pass


def _give_way() -> None:
    """To all other programs, with all that is started from here."""
    os.nice(_NICENESS)
    # Linux may share the processors among sessions first, and each program of ours is one: then niceness counts within.
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(_NICENESS), encoding="ascii")


def _is_there_to_go_on(spark: SparkSession, settings: Settings, stop: Stop) -> bool:
    """Waits for silver.events, and for the pipeline to finish a rebuild that was cut short. Out: False if stopped."""
    while True:
        manifest = manifests.newest(spark, settings)
        is_whole = manifest is None or manifest.done_at is not None
        if is_whole and commits.current_version(spark, SILVER_EVENTS, settings) >= 0:
            return True
        if stop.wait(_LOOK_S):
            return False


if __name__ == "__main__":
    _give_way()
    sys.exit(in_session("rounds", WRITES, follow))
