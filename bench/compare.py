"""How much sooner a sale is visible than in the textbook's pipeline: both in turn, under the same load and measure.

    python -m bench.compare [--short] [--rate 300] [--rounds 2] [--seconds 120] [--warm-up 60] [--json] [--keep FILE]

Each round is a broker, a lake and a stream of its own; rounds go textbook, ours, textbook, ours, so that a machine that
gets slower or busier meets both. A purchase that the textbook has not delivered a minute after the last event counts
with the time it had waited until then, which is less than it would have been: the ratio is then a lower bound.

`--short` is the check before a change lands: one pair at a low rate that the textbook can hold, and the limits of
`bench/ratios.py`.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from bench.command import Keep, WarmUp
from bench.latency import is_right, measure_lakehouse, say_on_stderr
from bench.open_loop import Load, Measured, open_loop
from bench.ratios import OURS, TEXTBOOK, Limits, Rounds, broken_limits, result_of, text, was_quiet
from bench.record import keep, recorded
from bench.testbed import fresh_stack
from bench.textbook import RUNNING
from lakehouse.command import AsJson, run_alone
from lakehouse.settings import Settings
from operate.supervisor import Program, Say, tail
from operate.terminal import TOOLS

SHORT = Load(rate_per_s=100.0, seconds=30.0, warm_up_s=30.0)
_START_S = 180.0


def measure_textbook(settings: Settings, load: Load, say: Say) -> Measured:
    with fresh_stack(settings, say) as stack:
        say("starting the textbook's three streams")
        program = Program(
            TEXTBOOK,
            [sys.executable, "-m", "bench.textbook"],
            stack.settings.logs / "textbook.log",
            stack.settings.as_environment(),
            restart=False,
        )
        stack.supervisor.start(program)
        stack.supervisor.wait_until(lambda: RUNNING in tail(program.log, 1000), TEXTBOOK, _START_S)
        return open_loop(stack, load, say, (program,))


def compare(settings: Settings, load: Load, rounds: int, say: Say) -> Rounds:
    done: Rounds = []
    for number in range(1, rounds + 1):
        for system, measure in ((TEXTBOOK, measure_textbook), (OURS, measure_lakehouse)):
            say(f"round {number} of {rounds}: {system}")
            done.append((system, measure(settings, load, say)))
    return done


def bench_compare(
    settings: Settings,
    show: Say,
    is_short: Annotated[
        bool, typer.Option("--short", help="one pair, low rate, with limits; sets all but --json and --keep")
    ] = False,
    rate_per_s: Annotated[float, typer.Option("--rate", help="events per second")] = 300.0,
    rounds: Annotated[int, typer.Option(help="pairs of one measurement each")] = 2,
    seconds: Annotated[float, typer.Option(help="measured in each round")] = 120.0,
    warm_up_s: WarmUp = 60.0,
    as_json: AsJson = False,
    keep_at: Keep = None,
) -> int:
    """Both in turn, under the same load and measure. Exit code 1 when a limit of --short is broken, or a purchase was
    lost.
    """
    load = SHORT if is_short else Load(rate_per_s, seconds, warm_up_s)
    done = compare(settings, load, 1 if is_short else rounds, say_on_stderr)
    result = recorded(result_of(done), datetime.now(UTC))
    if keep_at:
        keep(result, keep_at)
    show(json.dumps(result, indent=2) if as_json else text(result))
    broken = broken_limits(result, Limits()) if is_short else []
    if is_short and not was_quiet(result):
        say_on_stderr("The machine was busy with other programs: the limit of our own p99 is left out.")
    if not all(is_right(measured.facts) for system, measured in done if system == OURS):
        broken.append("our pipeline lost a purchase, or counted one that was never sent")
    for line in broken:
        say_on_stderr(f"FAILED: {line}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(run_alone(bench_compare, TOOLS))
