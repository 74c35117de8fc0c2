"""What rounds of two systems say together: the ratios of their p99s, and whether the limits are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.measure import Waits
from bench.open_loop import Measured

TEXTBOOK, OURS = "textbook", "lakehouse"
QUIET_SHARE = 0.2  # of the machine's CPU; others may take so much of it in a measurement that has to keep a time

Rounds = list[tuple[str, Measured]]


@dataclass(frozen=True)
class Limits:
    """What the short comparison asks for.

    A quiet machine shows a ratio several times the least, and what makes a machine busy slows both sides, so this one
    always holds. Seconds do not: on a busy machine the limit of our own p99 is left out (`was_quiet`).

    :param least_ratio: of the textbook's p99 to ours.
    """

    least_ratio: float = 5.0
    most_p99_s: float = 5.0


def result_of(rounds: Rounds) -> dict[str, Any]:
    """Each round, the ratio of the p99s of each pair, and that of all rounds together: the textbook's to ours."""
    p99_s = {name: [m.facts["topic"]["p99_s"] for system, m in rounds if system == name] for name in (TEXTBOOK, OURS)}
    overall = {name: _together(rounds, name).summary() for name in (TEXTBOOK, OURS)}
    return {
        "rounds": [{"system": system, "not_delivered_share": _lost_share(m.waits), **m.facts} for system, m in rounds],
        "overall": overall,
        "p99_ratios": [ratio(a, b) for a, b in zip(p99_s[TEXTBOOK], p99_s[OURS], strict=True)],
        "p99_ratio": ratio(overall[TEXTBOOK]["p99_s"], overall[OURS]["p99_s"]),
    }


def ratio(textbook_s: float | None, ours_s: float | None) -> float | None:
    return round(textbook_s / ours_s, 1) if textbook_s and ours_s else None


def broken_limits(result: dict[str, Any], limits: Limits) -> list[str]:
    """Out: a line for each limit that is not kept."""
    lines = []
    p99_s, found = result["overall"][OURS]["p99_s"], result["p99_ratio"]
    if p99_s is None or (p99_s > limits.most_p99_s and was_quiet(result)):
        lines.append(f"our p99 is {p99_s} s; at most {limits.most_p99_s:g} s is expected")
    if found is None or found < limits.least_ratio:
        lines.append(f"the textbook's p99 is {found} times ours; at least {limits.least_ratio:g} times is expected")
    return lines


def was_quiet(result: dict[str, Any]) -> bool:
    """Did other programs leave the machine to us while we were measured?"""
    return all(found["others_cpu_share"] <= QUIET_SHARE for found in result["rounds"] if found["system"] == OURS)


def text(result: dict[str, Any]) -> str:
    seconds = " ".join(f"{name:>8}" for name in ("p50", "p95", "p99", "max"))
    lines = [f"{'':<10} {seconds}  purchases  not delivered  CPU s  load before, after  others"]
    for found in result["rounds"]:
        topic = found["topic"]
        values = " ".join(f"{topic[name] or 0:>6.2f} s" for name in ("p50_s", "p95_s", "p99_s", "max_s"))
        lines.append(
            f"{found['system']:<10} {values}  {topic['purchases']:>9,}  {found['not_delivered_share']:>13.1%}"
            f"  {sum(found['cpu_s'].values()):>5.0f}"
            f"  {found['load_average_before'][0]:>11.1f}, {found['load_average_after'][0]:>5.1f}"
            f"  {found['others_cpu_share']:>6.0%}"
        )
    pairs = ", ".join(str(value) for value in result["p99_ratios"])
    lines.append(f"the textbook's p99 is {result['p99_ratio']} times ours (by pair: {pairs})")
    return "\n".join(lines)


def _together(rounds: Rounds, name: str) -> Waits:
    of_it = [measured.waits for system, measured in rounds if system == name]
    return Waits([wait for waits in of_it for wait in waits.waits_s], sum(waits.lost for waits in of_it))


def _lost_share(waits: Waits) -> float:
    return round(waits.lost / len(waits.waits_s), 4) if waits.waits_s else 0.0
