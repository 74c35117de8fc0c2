"""`lakehouse bench live`: from row to pixels. How long after a batch is stored in PostgreSQL browsers have painted it.

The sink notifies of each batch and says when it was stored. The page says, two frames after it has drawn, up to when
what it shows was stored. A batch has waited until the first painting that is not older than itself. One browser is
real, where there is a Chromium and playwright; the others read the page's stream and draw nothing, so theirs is the
time until the news has come. All that `lakehouse up` runs, runs beside it, on a fresh lake.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path
from statistics import linear_regression
from typing import Annotated, Any

import psycopg
import typer
from confluent_kafka import KafkaException

from bench.audience import TOKEN_VARIABLE, chromium
from bench.command import Rate, Seconds, WarmUp
from bench.latency import say_on_stderr
from bench.open_loop import Follower, Load
from bench.reader import consumer_from_the_start
from bench.testbed import fresh_stack
from bench.usage import Usage
from lakehouse.command import AsJson
from lakehouse.errors import InputError, ServiceError
from lakehouse.percentiles import percentiles
from lakehouse.settings import Settings
from operate.live import page_state, page_url
from operate.stack import PAGE, Stack
from operate.supervisor import Program, Say
from serving.live.access import token_of
from serving.notice import CHANNEL, read_notice

PROMISED_MS = 250.0
"""So long after a batch is stored 95 of 100 are on the screen, at most."""

WAIT_AT_END_S = 5.0
"""A batch that is not seen so long after the end is missed."""

_GATHER_S = 60.0
_EVERY_S = 10.0

_SIGHT = re.compile(r"(browser|stream-\d+) (\d+) (\d+)")

Sight = tuple[int, int]
"""(when the newest that is shown was stored, when it was seen), in milliseconds since 1970."""


def bench_live(
    settings: Settings,
    show: Say,
    rate_per_s: Rate = 500.0,
    seconds: Seconds = 120.0,
    warm_up_s: WarmUp = 60.0,
    browsers: Annotated[int, typer.Option(metavar="N", help="at the page, one of them real")] = 20,
    as_json: AsJson = False,
) -> int:
    """On a fresh lake; every batch that is stored in the measured time counts. Exit code 1 when the promise is not
    kept, or a batch was never shown.

    :raises InputError: no browser at all.
    """
    if browsers < 1:
        raise InputError(f"--browsers {browsers}.", "at least 1", "correct the command")
    facts = measure_live(settings, Load(rate_per_s, seconds, warm_up_s), browsers, say_on_stderr)
    show(json.dumps(facts, indent=2) if as_json else text(facts))
    return 0 if is_kept(facts) else 1


def measure_live(settings: Settings, load: Load, browsers: int, say: Say) -> dict[str, Any]:
    """All that `lakehouse up` runs but the file source, on a fresh lake, under this load. Out: the facts."""
    with fresh_stack(settings, say) as stack:
        say("starting the pipeline, PostgreSQL and the live page")
        stack.start_beside_kafka()
        stack.live_page()
        return _measure(stack, load, browsers, say)


def _measure(stack: Stack, load: Load, browsers: int, say: Say) -> dict[str, Any]:
    settings, supervisor = stack.settings, stack.supervisor
    usage, browser = Usage(settings), real_browser()
    if not browser:
        say("no Chromium or no playwright: only readers of the stream are measured, nothing is painted")
    streams = browsers - 1 if browser else browsers
    audience = audience_of(settings, streams, browser)
    batches, reader = Batches(settings.postgres_dsn.get_secret_value()), EventCounter(settings)
    try:
        follow = Follower(stack, reader, batches, usage, load, (audience,), say)
        supervisor.start(audience)
        supervisor.wait_until(lambda: connected(settings) >= browsers, audience.name, _GATHER_S)
        since_s, until_s = follow.through()
        follow.until(lambda: time.time() >= until_s + WAIT_AT_END_S, "waiting for the last paintings")
        still_there = connected(settings)
        supervisor.stop(audience.name)
        measured = [each for each in batches.stored_at_ms if since_s * 1000 <= each <= until_s * 1000]
        return {
            "rate_per_s": load.rate_per_s,
            "seconds": load.seconds,
            "warm_up_s": load.warm_up_s,
            "browsers": browsers,
            "browsers_at_end": still_there,
            **facts_of(measured, read_sights(audience.log), streams, bool(browser)),
            "server_memory": memory(usage.memory_mb(PAGE), since_s, until_s),
            **follow.facts(),
        }
    finally:
        reader.close()
        batches.close()


def real_browser() -> str:
    """The program of a browser; empty where there is none, or nothing to drive it with."""
    return chromium() if importlib.util.find_spec("playwright") else ""


def audience_of(settings: Settings, streams: int, browser: str) -> Program:
    """The program that looks at the page: a real browser where there is one, and readers of its stream."""
    flags = [page_url(settings), f"--streams={streams}", f"--chromium={browser}"]
    command = [sys.executable, "-m", "bench.audience", *flags]
    token = {TOKEN_VARIABLE: token_of(settings)}
    return Program("audience", command, settings.logs / "audience.log", token, restart=False)


def connected(settings: Settings) -> int:
    """How many browsers the page's server has now."""
    return int(page_state(settings).get("browsers", 0))


class Batches:
    """Listens to what the sink says of its batches.

    :param stored_at_ms: when each was stored, in milliseconds since 1970.
    """

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True, connect_timeout=5)
        self._connection.execute(f"LISTEN {CHANNEL}")
        self.stored_at_ms: list[int] = []

    def read(self) -> None:
        """Takes in what has come, without waiting.

        :raises ServiceError: PostgreSQL has gone.
        """
        try:
            told = self._connection.notifies(timeout=0)
            self.stored_at_ms += [read_notice(each.payload).stored_at_ms for each in told]
        except psycopg.OperationalError as error:
            raise ServiceError(f"PostgreSQL has gone: {error}") from None

    def close(self) -> None:
        self._connection.close()


class EventCounter:
    """Counts the events in Kafka.

    :param sent: events so far. :param first_at_s: when Kafka had the first one, in seconds since 1970; 0 before.
    """

    def __init__(self, settings: Settings) -> None:
        self._consumer = consumer_from_the_start(settings, settings.events_topic)
        self.sent, self.first_at_s = 0, 0.0

    def read(self, timeout_s: float) -> None:
        for record in self._consumer.consume(1000, timeout_s):
            if record.error() is not None:
                raise KafkaException(record.error())
            self.first_at_s = self.first_at_s or record.timestamp()[1] / 1000
            self.sent += 1

    def close(self) -> None:
        self._consumer.close()


def read_sights(log: Path) -> dict[str, list[Sight]]:
    """What each of the audience has seen, by name: `browser`, `stream-1`, ..."""
    found: defaultdict[str, list[Sight]] = defaultdict(list)
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        sight = _SIGHT.fullmatch(line)
        if sight:
            found[sight[1]].append((int(sight[2]), int(sight[3])))
    return dict(found)


def waits_ms(batches: Iterable[int], sights: Sequence[Sight]) -> list[int | None]:
    """How long each batch waited until somebody first saw something not older; None: never.

    :param batches: when each was stored, in milliseconds since 1970.
    """
    ordered = sorted(sights)
    stored = [stored_at_ms for stored_at_ms, _ in ordered]
    # From the newest back: the earliest time at which something that new, or newer, was seen.
    earliest = list(accumulate((at_ms for _, at_ms in reversed(ordered)), min))[::-1]
    places = ((batch, bisect_left(stored, batch)) for batch in batches)
    return [earliest[place] - batch if place < len(earliest) else None for batch, place in places]


def facts_of(batches: Sequence[int], sights: dict[str, list[Sight]], streams: int, is_real: bool) -> dict[str, Any]:
    """Waits of the real browser, and of all readers of the stream together.

    :param batches: when each of the measured time was stored.
    :param streams: how many readers there are, also of those that have seen nothing.
    """
    read = [wait for number in range(1, streams + 1) for wait in waits_ms(batches, sights.get(f"stream-{number}", []))]
    painted = {"browser": _summary(waits_ms(batches, sights.get("browser", [])))} if is_real else {}
    return {"batches": len(batches), **painted, **({"streams": _summary(read)} if streams else {})}


def memory(samples: Sequence[tuple[float, float]], since_s: float, until_s: float) -> dict[str, Any]:
    """MB of the measured time: its first sample, its last, the highest, the trend by least squares; a sample in ten
    seconds.

    :param samples: (seconds since 1970, MB).
    """
    measured = [(at_s, mb) for at_s, mb in samples if since_s <= at_s <= until_s]
    if len(measured) < 2:
        return {"first_mb": None, "last_mb": None, "highest_mb": None, "slope_mb_per_hour": None, "every_10_s_mb": []}
    slope, _ = linear_regression([at_s for at_s, _ in measured], [mb for _, mb in measured])
    every_10_s = {int((at_s - since_s) // _EVERY_S): round(mb, 1) for at_s, mb in reversed(measured)}
    return {
        "first_mb": round(measured[0][1], 1),
        "last_mb": round(measured[-1][1], 1),
        "highest_mb": round(max(mb for _, mb in measured), 1),
        "slope_mb_per_hour": round(slope * 3600, 1),
        "every_10_s_mb": [every_10_s[place] for place in sorted(every_10_s)],
    }


def is_kept(facts: dict[str, Any]) -> bool:
    """Was there a batch, none that was never shown, and the promise kept; on the screen, if there was one?"""
    shown = facts.get("browser") or facts["streams"]
    missed = sum(facts[who]["missed"] for who in ("browser", "streams") if who in facts)
    return bool(shown["waits"]) and not missed and shown["p95_ms"] <= PROMISED_MS


def text(facts: dict[str, Any]) -> str:
    """The result for people."""
    server = facts["server_memory"]
    lines = [
        f"row to pixels at {facts['rate_per_s']:g} events/s for {facts['seconds']:g} s, "
        f"after {facts['warm_up_s']:g} s of warm-up, with {facts['browsers']} browsers: {facts['batches']:,} batches",
        *([_percentiles(facts["browser"])] if "browser" in facts else ["no real browser: nothing was painted"]),
        *(["row to news in the stream", _percentiles(facts["streams"])] if "streams" in facts else []),
        f"memory of the page's server, MB: {server['first_mb']} first, {server['last_mb']} last, "
        f"{server['highest_mb']} at most; {server['slope_mb_per_hour']} an hour",
        f"CPU seconds: {_by_name(facts['cpu_s'])}",
        f"most memory, MB: {_by_name(facts['peak_memory_mb'])}",
        f"load average: {facts['load_average_before'][0]} before, {facts['load_average_after'][0]} after",
        f"stream: {facts['feeder']}",
    ]
    if not facts["batches"]:
        lines.append("NO BATCH: nothing was stored in the measured time")
    elif not is_kept(facts):
        lines.append(f"NOT KEPT: p95 within {PROMISED_MS:g} ms, and every batch shown, are promised")
    return "\n".join(lines)


def _summary(waits: Iterable[int | None]) -> dict[str, Any]:
    found = list(waits)
    seen = [wait for wait in found if wait is not None]
    return {**percentiles(seen, "ms"), "waits": len(found), "missed": len(found) - len(seen)}


def _percentiles(summary: dict[str, Any]) -> str:
    values = {name: summary[f"{name}_ms"] for name in ("p50", "p95", "p99", "max")}
    times = "  ".join(f"{name} {'-' if value is None else f'{value:.0f} ms'}" for name, value in values.items())
    return f"{times}  missed {summary['missed']:,}"


def _by_name(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:,}" for name, value in values.items())
