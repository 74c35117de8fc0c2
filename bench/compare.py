"""How much sooner a sale is visible than in the textbook's pipeline: both in turn, under the same load and measure.

    python -m bench.compare [--short] [--rate 300] [--rounds 2] [--seconds 120] [--warm-up 60] [--json] [--keep FILE]

Each round is a broker, a lake and a stream of its own; rounds go textbook, ours, textbook, ours, so that a machine that
gets slower or busier meets both. A purchase that the textbook has not delivered a minute after the last event counts
with the time it had waited until then, which is less than it would have been: the ratio is then a lower bound.

`--short` is the check before a change lands: one pair at a low rate that the textbook can hold, and the limits of
`bench/ratios.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.command import exit_code
from bench.latency import is_right, measure_lakehouse, say_on_stderr
from bench.open_loop import Load, Measured, open_loop
from bench.ratios import OURS, TEXTBOOK, Limits, Rounds, broken_limits, result_of, text, was_quiet
from bench.record import keep, recorded
from bench.testbed import fresh_stack
from bench.textbook import RUNNING
from lakehouse.settings import Settings, load_settings
from operate.supervisor import Program, Say, tail

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


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    return exit_code(lambda: _bench_compare(given))


def _bench_compare(given: argparse.Namespace) -> int:
    load = SHORT if given.short else Load(given.rate, given.seconds, given.warm_up)
    rounds = compare(load_settings(), load, 1 if given.short else given.rounds, say_on_stderr)
    result = recorded(result_of(rounds), datetime.now(UTC))
    if given.keep:
        keep(result, given.keep)
    print(json.dumps(result, indent=2) if given.json else text(result))
    broken = broken_limits(result, Limits()) if given.short else []
    if given.short and not was_quiet(result):
        say_on_stderr("The machine was busy with other programs: the limit of our own p99 is left out.")
    if not all(is_right(measured.facts) for system, measured in rounds if system == OURS):
        broken.append("our pipeline lost a purchase, or counted one that was never sent")
    for line in broken:
        say_on_stderr(f"FAILED: {line}")
    return 1 if broken else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--short", action="store_true", help="one pair, low rate, with limits; sets all but --json")
    parser.add_argument("--rate", type=float, default=300.0, help="events per second (300)")
    parser.add_argument("--rounds", type=int, default=2, help="pairs of one measurement each (2)")
    parser.add_argument("--seconds", type=float, default=120.0, help="measured in each round (120)")
    parser.add_argument("--warm-up", type=float, default=60.0, metavar="S", help="seconds before it (60)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write the JSON there, as in bench/results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
