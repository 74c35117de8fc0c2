"""`lakehouse bench carts`: from the moment a cart is abandoned to its alert in `abandoned-carts`, and to its row in
PostgreSQL.

A cart is abandoned when nothing has changed it for half an hour, which would make the bench an hour long. So the
setting `cart_abandon_s` is five minutes here (`--abandon-after`); what is done at that moment is the same. The moment
is a time of the store clock, which is wall time while events come as they happen: the clock that also says when an
alert is seen, unless Kafka runs elsewhere.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import typer
from confluent_kafka import Message

from bench.command import Rate, Seconds, WarmUp
from bench.latency import say_on_stderr
from bench.measure import seconds as seconds_of
from bench.open_loop import Follower, Load
from bench.reader import TableReader
from bench.store_reader import StoreReader
from bench.testbed import fresh_stack
from bench.usage import Usage
from lakehouse.command import AsJson
from lakehouse.errors import InputError
from lakehouse.percentiles import percentiles
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_ABANDONED_CARTS
from operate.stack import Stack
from operate.supervisor import Say

PROMISED_S = 30.0
"""So long after the moment of abandonment an alert is published, at most."""

WAIT_AT_END_S = 40.0
"""What is abandoned as the stream ends is seen by then: it waits for a round of sessions and for one of carts."""


def bench_carts(
    settings: Settings,
    show: Say,
    rate_per_s: Rate = 500.0,
    seconds: Seconds = 300.0,
    warm_up_s: WarmUp = 330.0,
    abandon_after_s: Annotated[
        int, typer.Option("--abandon-after", metavar="S", help="a cart without a change for so long is left")
    ] = 300,
    as_json: AsJson = False,
) -> int:
    """On a fresh lake; every cart that is abandoned in the measured time counts. Exit code 1 when there was no alert,
    or one of the topic was later than promised.

    :raises InputError: times in which no cart can be abandoned.
    """
    if not 1 <= abandon_after_s < warm_up_s + seconds:
        raise InputError(
            f"--abandon-after {abandon_after_s}, with {warm_up_s + seconds:g} s of stream.",
            "at least 1, and less than --warm-up and --seconds together",
            "correct the command",
        )
    facts = measure_carts(settings, Load(rate_per_s, seconds, warm_up_s), abandon_after_s, say_on_stderr)
    show(json.dumps(facts, indent=2) if as_json else text(facts))
    return 0 if is_kept(facts) else 1


def measure_carts(settings: Settings, load: Load, abandon_after_s: int, say: Say) -> dict[str, Any]:
    """All that `lakehouse up` runs but the file source, on a fresh lake, under this load, with its own
    `cart_abandon_s`. Out: the facts.
    """
    with fresh_stack(settings.model_copy(update={"cart_abandon_s": abandon_after_s}), say) as stack:
        say("starting the pipeline and PostgreSQL")
        stack.start_beside_kafka()
        return _measure(stack, load, say)


def _measure(stack: Stack, load: Load, say: Say) -> dict[str, Any]:
    settings = stack.settings
    shown, served, usage = Alerts(), Alerts(), Usage(settings)
    store = StoreReader(settings.postgres_dsn.get_secret_value(), served, GOLD_ABANDONED_CARTS)
    reader = TableReader(settings, GOLD_ABANDONED_CARTS, partial(tell, shown))
    try:
        follow = Follower(stack, reader, store, usage, load, (), say)
        since_s, until_s = follow.through()
        follow.until(lambda: time.time() >= until_s + WAIT_AT_END_S, "waiting for the last alerts")
        return {
            "rate_per_s": load.rate_per_s,
            "seconds": load.seconds,
            "warm_up_s": load.warm_up_s,
            "abandon_after_s": settings.cart_abandon_s,
            **facts_of(shown.counted(since_s, until_s), served.counted(since_s, until_s)),
            **follow.facts(),
        }
    finally:
        reader.close()
        store.close()


@dataclass
class _Alert:
    """:param number: which abandonment of its session it is, by the newest row that has it; the first is 1.

    :param seen_s: when it was first seen, in seconds since 1970.
    """

    number: int
    seen_s: float
    is_withdrawn: bool = False
    is_recovered: bool = False


@dataclass(frozen=True)
class Counted:
    """Alerts of a stretch of time.

    :param delays_s: of each, from the moment of abandonment until it was first seen.
    :param withdrawn: how many were withdrawn later, or corrected to another moment.
    :param recovered: of how many the customer has bought an item after all.
    """

    delays_s: list[float]
    withdrawn: int
    recovered: int

    def summary(self) -> dict[str, Any]:
        """Seconds and a count, as the result has them. Without alerts the seconds are None."""
        return {**percentiles(self.delays_s, "s"), "alerts": len(self.delays_s)}


class Alerts:
    """What a reader makes of the rows of gold.abandoned_carts who keeps the highest revision of each session.

    An alert is a session and a moment at which its cart was abandoned; it is seen once, however often a row has it. It
    is withdrawn when a newer revision has no such abandonment any more: the session has no row, or one whose newest
    abandonment is earlier, or is of another moment and no later in the count. A later abandonment of the session, one
    more in the count, is another alert and leaves those before it as they are.
    """

    def __init__(self) -> None:
        self._revisions: dict[str, int] = {}
        self._alerts: defaultdict[str, dict[float, _Alert]] = defaultdict(dict)  # by session and moment

    def shown(self, value: bytes, at_s: float) -> None:
        """A row as JSON, which arrived at this time, in seconds since 1970."""
        row = json.loads(value)
        session_key = row["session_key"]
        if not self._is_newer(session_key, row["revision"]):
            return
        moment_s, number, alerts = seconds_of(row["abandoned_at"]), row["abandonments"], self._alerts[session_key]
        for other_s, other in alerts.items():
            if other_s > moment_s or (other_s < moment_s and other.number >= number):
                other.is_withdrawn = True
        alert = alerts.setdefault(moment_s, _Alert(number, at_s))
        alert.number, alert.is_recovered = number, row["recovered_at"] is not None

    def gone(self, session_key: str, revision: int) -> None:
        """In this revision the session has no row."""
        if self._is_newer(session_key, revision):
            for alert in self._alerts[session_key].values():
                alert.is_withdrawn = True

    def counted(self, since_s: float, until_s: float) -> Counted:
        """The alerts of carts that were abandoned between these times, in seconds since 1970."""
        found = [
            (alert.seen_s - moment_s, alert)
            for alerts in self._alerts.values()
            for moment_s, alert in alerts.items()
            if since_s <= moment_s <= until_s
        ]
        return Counted(
            [delay_s for delay_s, _ in found],
            sum(alert.is_withdrawn for _, alert in found),
            sum(alert.is_recovered for _, alert in found),
        )

    def _is_newer(self, session_key: str, revision: int) -> bool:
        is_newer = revision > self._revisions.get(session_key, 0)
        if is_newer:
            self._revisions[session_key] = revision
        return is_newer


def tell(alerts: Alerts, record: Message, at_s: float) -> None:
    """In: a record of abandoned-carts, and when it came, in seconds since 1970. One without a value withdraws its
    session, in the revision that its header names.
    """
    key, value, headers = record.key(), record.value(), dict[str, Any](record.headers() or [])
    if value is None:
        alerts.gone((key or b"").decode(), int(headers["revision"]))
    else:
        alerts.shown(value, at_s)


def facts_of(topic: Counted, store: Counted) -> dict[str, Any]:
    """What the two have seen. Only the topic tells of what is withdrawn; its share of no alerts is None."""
    alerts = len(topic.delays_s)
    return {
        "topic": topic.summary(),
        "postgres": store.summary(),
        "alerts_withdrawn": topic.withdrawn,
        "withdrawn_share": round(topic.withdrawn / alerts, 4) if alerts else None,
        "recovered": topic.recovered,
    }


def is_kept(facts: dict[str, Any]) -> bool:
    """Was there an alert, and none in the topic later than promised?"""
    return bool(facts["topic"]["alerts"]) and facts["topic"]["max_s"] <= PROMISED_S


def text(facts: dict[str, Any]) -> str:
    """The result for people."""
    topic, store, share = facts["topic"], facts["postgres"], facts["withdrawn_share"]
    lines = [
        f"abandonment to abandoned-carts at {facts['rate_per_s']:g} events/s for {facts['seconds']:g} s, "
        f"after {facts['warm_up_s']:g} s of warm-up: {topic['alerts']:,} alerts",
        _percentiles(topic),
        f"abandonment to row in PostgreSQL: {store['alerts']:,} alerts",
        _percentiles(store),
        f"here a cart is abandoned when nothing has changed it for {facts['abandon_after_s']:,} s; "
        f"by default it is {Settings.model_fields['cart_abandon_s'].default:,} s",
        f"withdrawn or corrected again: {facts['alerts_withdrawn']:,} alerts"
        f"{'' if share is None else f' ({share:.2%})'}; recovered by a purchase: {facts['recovered']:,}",
        f"CPU seconds: {_by_name(facts['cpu_s'])}",
        f"most memory, MB: {_by_name(facts['peak_memory_mb'])}",
        f"load average: {facts['load_average_before'][0]} before, {facts['load_average_after'][0]} after",
        f"stream: {facts['feeder']}",
    ]
    if not topic["alerts"]:
        lines.append("NO ALERT: no cart was seen to be abandoned in the measured time")
    elif not is_kept(facts):
        lines.append(f"TOO LATE: an alert took {topic['max_s']:.2f} s; {PROMISED_S:g} s are promised")
    return "\n".join(lines)


def _percentiles(summary: dict[str, Any]) -> str:
    values = {name: summary[f"{name}_s"] for name in ("p50", "p95", "p99", "max")}
    return "  ".join(f"{name} {'-' if value is None else f'{value:.2f} s'}" for name, value in values.items())


def _by_name(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in values.items())
