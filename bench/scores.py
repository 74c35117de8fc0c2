"""How soon an open cart is scored: from its opening to its score in `cart-scores`, and to its row in PostgreSQL.

    LAKEHOUSE_MLFLOW_TRACKING_URI=... python -m bench.scores [--rate 500] [--seconds 300] [--warm-up 180] [--json]

All of `lakehouse up` but the file source runs, on a fresh lake, with the champions of that MLflow. A cart opens at a
time of the store clock, which is wall time while events come as they happen.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import Any

from confluent_kafka import Message

from bench.command import Keep, Rate, Seconds, WarmUp
from bench.latency import say_on_stderr
from bench.measure import seconds as seconds_of
from bench.open_loop import Follower, Load
from bench.reader import TableReader
from bench.record import keep, recorded
from bench.store_reader import StoreReader
from bench.testbed import fresh_stack
from bench.usage import Usage
from lakehouse.command import AsJson, run_alone
from lakehouse.errors import SettingError
from lakehouse.percentiles import percentiles
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_CART_SCORES
from operate.supervisor import Say
from operate.terminal import TOOLS

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


def bench_scores(
    settings: Settings,
    show: Say,
    rate_per_s: Rate = 500.0,
    seconds: Seconds = 300.0,
    warm_up_s: WarmUp = 180.0,
    as_json: AsJson = False,
    keep_at: Keep = None,
) -> int:
    """On a fresh lake, with the champions of the MLflow that LAKEHOUSE_MLFLOW_TRACKING_URI names. Exit code 1 when no
    cart was scored, or one of the topic later than promised.
    """
    facts = recorded(measure(settings, Load(rate_per_s, seconds, warm_up_s), say_on_stderr), datetime.now(UTC))
    if keep_at:
        keep(facts, keep_at)
    show(json.dumps(facts, indent=2) if as_json else text(facts))
    return 0 if is_kept(facts) else 1


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
    sys.exit(run_alone(bench_scores, TOOLS))
