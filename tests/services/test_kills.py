"""`kill -9` of the Spark process at random points, over input with copies, late and broken records: nothing shows."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil

from ingest.disorder import RULES, Record, records, with_broken, with_copies, with_late
from ingest.generate import events_from
from ingest.producer import EventProducer
from ingest.shape import StoreShape
from lakehouse.pulse import read_pulse
from lakehouse.settings import Settings
from operate.stack import Stack
from tests.services.runs import ODD_HOME, ask, assert_promises, running, wait_until_read

SEED = int(os.environ.get("CHAOS_SEED", random.SystemRandom().randrange(10**6)))
KILLS = 1


# Over 30 s: Spark starts twice. `make chaos` kills it more often.
def test_rows_after_kills_are_those_of_a_plain_calculation(tmp_path: Path) -> None:
    print(f"seed {SEED}: CHAOS_SEED={SEED} repeats it")
    chance = random.Random(SEED)
    input_ = _input()
    settings = Settings(home=tmp_path / ODD_HOME, topic_partitions=3, max_batch_rows=2_000)
    with running(settings, with_rounds=False) as stack:
        producer = EventProducer(stack.settings)
        size = len(input_) // (KILLS + 1) + 1
        for part in range(KILLS + 1):
            chunk = input_[part * size : (part + 1) * size]
            producer.send_batch(settings.events_topic, [r.key for r in chunk], [r.value for r in chunk])
            producer.flush()
            if part < KILLS:
                _kill(stack, chance)
        wait_until_read(stack)
        stack.stop_pipeline()
        assert_promises(stack.settings)
    _assert_as_calculated(settings, input_)
    assert _open_to_others(settings.home) == []


def _open_to_others(home: Path) -> list[str]:
    """What another account could read, or enter."""
    everything = (path for path in [home, *home.rglob("*")] if not path.is_symlink())
    return [f"{path} {path.stat().st_mode:o}" for path in everything if path.stat().st_mode & 0o077]


def _input() -> list[Record]:
    """11,000 records: 5 % copies, 3 % late by minutes to weeks, about 700 broken in every way."""
    start_at = datetime.now(UTC) - timedelta(days=30)
    batches = events_from(StoreShape(products=500, categories=20, brands=20), SEED, start_at, rate_per_s=0.05)
    good: list[Record] = []
    while len(good) < 9_800:
        good += records(next(batches))
    mixed = with_late(with_copies(good[:9_800], 0.05, SEED), 0.03, SEED)
    now, quick = datetime.now(UTC), [rule for rule in RULES if rule != "too_large"]
    # Values of 2 MB among the first only: hundreds of them would be a test of the disk.
    return with_broken(mixed[:1_000], 0.065, SEED, now) + with_broken(mixed[1_000:], 0.065, SEED, now, quick)


def _kill(stack: Stack, chance: random.Random) -> None:
    """Kills the pipeline's Python or its JVM at some moment of the batches that it has before it."""
    _wait_for(stack, lambda pulse: bool(pulse.get("running")))
    wanted, wait_s = chance.randrange(0, 3), chance.uniform(0.0, 2.0)
    _wait_for(stack, lambda pulse: pulse.get("batches", 0) >= wanted)
    time.sleep(wait_s)  # the point is random, not awaited
    pulse = read_pulse(stack.settings)
    python = psutil.Process(pulse["pid"])
    jvm = next(child for child in python.children(recursive=True) if child.name() == "java")
    victim = chance.choice([python, jvm])
    print(f"kill -9 of {victim.name()} {wait_s:.1f} s after batch {pulse['batches']}")
    victim.send_signal(signal.SIGKILL)
    _wait_for(stack, lambda new: new.get("pid", pulse["pid"]) != pulse["pid"])


def _wait_for(stack: Stack, is_so: Callable[[dict[str, Any]], bool], timeout_s: float = 600.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not is_so(read_pulse(stack.settings)):
        stack.supervisor.watch()
        assert time.monotonic() < end_s, f"not so after {timeout_s:.0f} s: {read_pulse(stack.settings)}"
        time.sleep(0.02)


def _assert_as_calculated(settings: Settings, input_: list[Record]) -> None:
    """Against plain Python over the input, which shares no code with the layers."""
    good = [json.loads(record.value) for record in input_ if not record.rules]
    distinct = {tuple(sorted(event.items())) for event in good}
    assert len(input_) - len(good) > 500
    assert ask("SELECT count(*) FROM silver.events", settings) == [(len(distinct),)]
    assert ask("SELECT count(*) FROM silver.duplicates", settings) == [(len(good) - len(distinct),)]
    reasons = Counter(tuple(sorted(row[0])) for row in ask("SELECT reasons FROM silver.quarantine", settings))
    assert reasons == Counter(record.rules for record in input_ if record.rules)
    units: dict[tuple[datetime, int], int] = defaultdict(int)
    revenue: dict[tuple[datetime, int], Decimal] = defaultdict(Decimal)
    for event in map(dict, distinct):
        price = Decimal(event["price"])
        if event["event_type"] == "purchase" and price > 0:
            at = datetime.strptime(event["event_time"], "%Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC, second=0)
            units[at, int(event["product_id"])] += 1
            revenue[at, int(event["product_id"])] += price
    sales = ask("SELECT window_start_at, product_id, units, revenue FROM gold.product_sales WHERE units > 0", settings)
    assert {(at, product): n for at, product, n, _ in sales} == units
    assert {(at, product): amount for at, product, _, amount in sales} == revenue
