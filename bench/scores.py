"""How soon an open cart is scored: from its opening to its score in `cart-scores`, and to its row in PostgreSQL.

    LAKEHOUSE_MLFLOW_TRACKING_URI=... python -m bench.scores [--rate 500] [--seconds 300] [--warm-up 180] [--json]

All of `lakehouse up` but the file source runs, on a fresh lake, with the champions of that MLflow. A cart opens at a
time of the store clock, which is wall time while events come as they happen.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Message

from bench.command import exit_code
from bench.latency import say_on_stderr
from bench.measure import seconds as seconds_of
from bench.open_loop import Follower, Load
from bench.reader import TableReader
from bench.record import keep, recorded
from bench.store_reader import StoreReader
from bench.testbed import fresh_stack
from bench.usage import Usage
from lakehouse.errors import SettingError
from lakehouse.percentiles import percentiles
from lakehouse.settings import Settings, load_settings
from lakehouse.tables import GOLD_CART_SCORES
from operate.supervisor import Say

PROMISED_S = 30.0
"""So long after a cart has opened its score is there, at most."""

WAIT_AT_END_S = 60.0


class Opened:
    """When each cart opened, and when its score was first seen, in seconds since 1970."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[float, float]] = {}

    def shown(self, value: bytes, at_s: float) -> None:
        """A row as JSON, which arrived at this time."""
        row = json.loads(value)
        self._seen.setdefault(row["event_id"], (seconds_of(row["opened_at"]), at_s))

    def summary(self, since_s: float, until_s: float) -> dict[str, Any]:
        """Of the carts that opened between these times."""
        delays_s = [seen_s - opened_s for opened_s, seen_s in self._seen.values() if since_s <= opened_s <= until_s]
        return {**percentiles(delays_s, "s"), "carts": len(delays_s)}


def measure(settings: Settings, load: Load, say: Say) -> dict[str, Any]:
    """Out: the facts. :raises SettingError: no MLflow is named: that of a fresh home has no champions."""
    if not settings.mlflow_tracking_uri:
        raise SettingError(
            "LAKEHOUSE_MLFLOW_TRACKING_URI is not set.",
            "an MLflow whose models have champions",
            "train on another lake (`lakehouse ml train`) and name its MLflow",
        )
    shown, served = Opened(), Opened()

    def take(record: Message, at_s: float) -> None:
        if (value := record.value()) is not None:
            shown.shown(value, at_s)

    with fresh_stack(settings, say) as stack:
        say("starting the pipeline and PostgreSQL")
        stack.start_beside_kafka()
        usage = Usage(stack.settings)
        reader = TableReader(stack.settings, GOLD_CART_SCORES, take)
        store = StoreReader(stack.settings.postgres_dsn.get_secret_value(), served, GOLD_CART_SCORES)
        try:
            follow = Follower(stack, reader, store, usage, load, (), say)
            since_s, until_s = follow.through()
            follow.until(lambda: time.time() >= until_s + WAIT_AT_END_S, "waiting for the last scores")
            return {
                "rate_per_s": load.rate_per_s,
                "seconds": load.seconds,
                "warm_up_s": load.warm_up_s,
                "topic": shown.summary(since_s, until_s),
                "postgres": served.summary(since_s, until_s),
                **follow.facts(),
            }
        finally:
            reader.close()
            store.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scores", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rate", type=float, default=500.0, metavar="R", help="events per second (500)")
    parser.add_argument("--seconds", type=float, default=300.0, metavar="S", help="measured, after the warm-up (300)")
    parser.add_argument("--warm-up", type=float, default=180.0, metavar="S", help="seconds before it (180)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write the JSON there, as in bench/results")
    given = parser.parse_args(arguments)

    def bench() -> int:
        load = Load(given.rate, given.seconds, given.warm_up)
        facts = recorded(measure(load_settings(), load, say_on_stderr), datetime.now(UTC))
        if given.keep:
            keep(facts, given.keep)
        print(json.dumps(facts, indent=2) if given.json else text(facts))
        return 0 if is_kept(facts) else 1

    return exit_code(bench)


def is_kept(facts: dict[str, Any]) -> bool:
    """Was a cart scored, and none of the topic later than promised?"""
    return bool(facts["topic"]["carts"]) and facts["topic"]["max_s"] <= PROMISED_S


def text(facts: dict[str, Any]) -> str:
    """The result for people."""
    lines = [f"a cart's opening to its score, at {facts['rate_per_s']:g} events/s for {facts['seconds']:g} s"]
    for place in ("topic", "postgres"):
        seen = facts[place]
        times = "  ".join(f"{name} {seen[f'{name}_s'] or 0:.1f} s" for name in ("p50", "p95", "p99", "max"))
        lines.append(f"  {place:<9} {times}  of {seen['carts']:,} carts")
    lines.append(
        f"load average: {facts['load_average_before'][0]} before, {facts['load_average_after'][0]} after; "
        f"other programs took {facts['others_cpu_share']:.0%} of the machine"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
