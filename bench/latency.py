"""`lakehouse bench latency`: from payment to visible in `product-sales` and in PostgreSQL, with that purchase in."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from bench.command import Rate, Seconds, WarmUp
from bench.open_loop import WAIT_AT_END_S, Load, Measured, open_loop
from bench.testbed import fresh_stack
from lakehouse.command import AsJson
from lakehouse.settings import Settings
from operate.supervisor import Say


def bench_latency(
    settings: Settings,
    show: Say,
    rate_per_s: Rate = 300.0,
    seconds: Seconds = 120.0,
    warm_up_s: WarmUp = 60.0,
    kill_at_s: Annotated[
        float | None, typer.Option("--kill-at", metavar="S", help="kill -9 of Spark so far into the measured time")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """On a fresh lake; every purchase of the measured time counts. Exit code 1 when one was lost or counted twice."""
    load = Load(rate_per_s, seconds, warm_up_s, kill_at_s=kill_at_s)
    facts = measure_lakehouse(settings, load, say_on_stderr).facts
    show(json.dumps(facts, indent=2) if as_json else text(facts))
    return 0 if is_right(facts) else 1


def measure_lakehouse(settings: Settings, load: Load, say: Say) -> Measured:
    """All that `lakehouse up` runs, on a fresh lake, under this load."""
    with fresh_stack(settings, say) as stack:
        say("starting the pipeline and PostgreSQL")
        stack.start_beside_kafka()
        return open_loop(stack, load, say)


def is_right(facts: dict[str, Any]) -> bool:
    """Was every purchase of the measured time seen, and nothing counted that was never sent?"""
    lost = facts["topic"]["lost"] + facts.get("postgres", {}).get("lost", 0)
    return bool(facts["topic"]["purchases"]) and not lost and not facts["units_never_sent"]


def text(facts: dict[str, Any]) -> str:
    """The result for people."""
    topic = facts["topic"]
    lines = [
        f"payment to product-sales at {facts['rate_per_s']:g} events/s for {facts['seconds']:g} s, "
        f"after {facts['warm_up_s']:g} s of warm-up: {topic['purchases']:,} purchases",
        _percentiles(topic),
        *(["payment to row in PostgreSQL", _percentiles(facts["postgres"])] if "postgres" in facts else []),
        *([f"mean seconds: {_by_name(facts['mean_stages_s'])}"] if "postgres" in facts else []),
        f"CPU seconds: {_by_name(facts['cpu_s'])}",
        f"most memory, MB: {_by_name(facts['peak_memory_mb'])}",
        f"load average: {facts['load_average_before'][0]} before, {facts['load_average_after'][0]} after; "
        f"other programs took {facts['others_cpu_share']:.0%} of the machine",
        f"stream: {facts['feeder']}",
    ]
    if topic["lost"]:
        lines.append(f"LOST: {topic['lost']:,} purchases were not in product-sales {WAIT_AT_END_S:.0f} s after the end")
    if facts["units_never_sent"]:
        lines.append(f"WRONG: {facts['units_never_sent']:,} units in product-sales were never sent")
    return "\n".join(lines)


def say_on_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _percentiles(summary: dict[str, Any]) -> str:
    return "  ".join(f"{name[:-2]} {_seconds(summary[name])}" for name in ("p50_s", "p95_s", "p99_s", "max_s"))


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _by_name(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in values.items())
