"""How fast a backlog is worked off: many events at once into a stack that runs and is warm.

    python -m bench.throughput [--events 300000] [--json]

The events are made beforehand, so that only sending them, a second or two, is in the time; it ends when the pipeline
has all of them in bronze and silver and their sales are published. gold.product_sales is written in rounds beside it:
when its last round was done is told apart. CPU seconds run until then, and include what is done for the gold table.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from bench.latency import say_on_stderr
from bench.testbed import fresh_stack
from bench.usage import Usage, spent
from ingest.generate import events_from
from ingest.generated import BULK_RATE_PER_S, SHAPE
from ingest.producer import EventProducer
from lakehouse.command import AsJson, run_alone
from lakehouse.errors import ServiceError
from lakehouse.pulse import read_pulse
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_PRODUCT_SALES, SILVER_EVENTS
from operate.lake import last_noted, open_table
from operate.stack import Stack
from operate.supervisor import Say
from operate.terminal import TOOLS

EVENTS = 300_000
WARM_UP_EVENTS, WARM_UP_LOTS = 100_000, 10
_TIMEOUT_S, _PEEK_S, _SAMPLE_S = 900.0, 0.1, 1.0

Records = tuple[list[bytes], list[bytes]]
"""Keys and values."""


def bench_throughput(
    settings: Settings,
    show: Say,
    events: Annotated[int, typer.Option(metavar="N", help="how many, after a warm-up with 100,000 others")] = EVENTS,
    as_json: AsJson = False,
) -> int:
    """On a fresh lake."""
    with fresh_stack(settings, say_on_stderr) as stack:
        say_on_stderr("starting the pipeline, making events")
        stack.start_pipeline()
        keys, values = make_records(WARM_UP_EVENTS + events, datetime.now(UTC))
        stack.wait_for_pipeline()
        facts = _measure(stack, keys, values)
    show(json.dumps(facts, indent=2) if as_json else text(facts))
    return 0


def make_records(count: int, end_at: datetime) -> Records:
    """One stretch of the synthetic stream, the last of it about at `end_at`, so that no event is of the future."""
    keys: list[bytes] = []
    values: list[bytes] = []
    for batch in events_from(SHAPE, 1, end_at - timedelta(seconds=1.1 * count / BULK_RATE_PER_S), BULK_RATE_PER_S):
        keys += batch.keys()
        values += batch.json_values()
        if len(keys) >= count:
            break
    return keys[:count], values[:count]


def _measure(stack: Stack, keys: list[bytes], values: list[bytes]) -> dict[str, Any]:
    usage, load_before = Usage(stack.settings), os.getloadavg()
    bulk = _Bulk(stack, usage)
    lot = WARM_UP_EVENTS // WARM_UP_LOTS
    for first in range(0, WARM_UP_EVENTS, lot):
        say_on_stderr(f"warming up: {first:,} of {WARM_UP_EVENTS:,} events")
        bulk.send(keys[first : first + lot], values[first : first + lot])
        bulk.wait_until_settled()
    bulk.wait_until_gold_is_written()

    events = len(keys) - WARM_UP_EVENTS
    say_on_stderr(f"measuring: {events:,} events at once")
    cpu_s, began_s = usage.cpu_s(), time.monotonic()
    bulk.send(keys[WARM_UP_EVENTS:], values[WARM_UP_EVENTS:])
    sent_s = time.monotonic() - began_s
    bulk.wait_until_settled()
    settled_s = time.monotonic() - began_s
    bulk.wait_until_gold_is_written()
    gold_s = time.monotonic() - began_s
    cpu_s = spent(cpu_s, usage.cpu_s())
    return {
        "events": events,
        "seconds": round(settled_s, 2),
        "events_per_s": round(events / settled_s),
        "sending_s": round(sent_s, 2),
        "gold_table_after_s": round(gold_s, 2),
        "cpu_s": cpu_s,
        "cpu_s_per_million_events": {name: round(value / events * 1e6, 1) for name, value in cpu_s.items()},
        "peak_memory_mb": usage.peak_memory_mb(),
        "load_average_before": [round(value, 2) for value in load_before],
        "load_average_after": [round(value, 2) for value in os.getloadavg()],
    }


class _Bulk:
    """Sends records, and knows from the pipeline's pulse and the tables when they are worked off."""

    def __init__(self, stack: Stack, usage: Usage) -> None:
        self._stack, self._settings, self._usage = stack, stack.settings, usage
        self._producer = EventProducer(stack.settings)
        self._sent = 0

    def send(self, keys: list[bytes], values: list[bytes]) -> None:
        self._producer.send_batch(self._settings.events_topic, keys, values)
        self._producer.flush()
        self._sent += len(keys)

    def wait_until_settled(self) -> None:
        """Bronze and silver have what was sent, and its sales are published."""
        self._wait(lambda: read_pulse(self._settings).get("records_written", 0) >= self._sent, "the pipeline")

    def wait_until_gold_is_written(self) -> None:
        self._wait(self._gold_is_written, "a round of gold")

    def _gold_is_written(self) -> bool:
        silver_version = open_table(SILVER_EVENTS, self._settings).version()
        return bool(last_noted(GOLD_PRODUCT_SALES, self._settings).note["silver_version"] >= silver_version)

    def _wait(self, is_done: Callable[[], bool], what: str) -> None:
        end_s, sample_s = time.monotonic() + _TIMEOUT_S, 0.0
        while not is_done():
            now_s = time.monotonic()
            if self._stack.supervisor.exit_code("pipeline") is not None:
                raise ServiceError("The pipeline ended.", "", f"see {self._settings.logs / 'pipeline.log'}")
            if now_s > end_s:
                raise ServiceError(f"{what} was not through after {_TIMEOUT_S:.0f} s.")
            if now_s - sample_s > _SAMPLE_S:
                sample_s = now_s
                self._usage.sample_memory()
            time.sleep(_PEEK_S)


def text(facts: dict[str, Any]) -> str:
    """The result for people."""
    per_million = ", ".join(f"{name} {value:,}" for name, value in facts["cpu_s_per_million_events"].items())
    memory = ", ".join(f"{name} {value:,}" for name, value in facts["peak_memory_mb"].items())
    return "\n".join(
        [
            f"{facts['events']:,} events at once: {facts['events_per_s']:,} events/s, all published and in bronze and"
            f" silver after {facts['seconds']} s, in gold.product_sales after {facts['gold_table_after_s']} s",
            f"CPU seconds per million events: {per_million}",
            f"most memory, MB: {memory}",
            f"load average: {facts['load_average_before'][0]} before, {facts['load_average_after'][0]} after",
        ]
    )


if __name__ == "__main__":
    sys.exit(run_alone(bench_throughput, TOOLS))
