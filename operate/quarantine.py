"""`lakehouse quarantine list | replay`: what was refused and why, and its way back after a fix."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from pyspark.sql import DataFrame, SparkSession
from rich.console import Console

from bronze.schemas import SeenSchemas
from lakehouse import commits
from lakehouse.command import AsJson
from lakehouse.errors import InputError
from lakehouse.manifests import refuse_unfinished
from lakehouse.session import spark_session
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from lakehouse.tables import SILVER_EVENTS
from lakehouse.wire import plain
from lakehouse.writer_schemas import WriterSchemas
from operate.lake import dicts_of, query
from operate.pause import writers_paused
from operate.show import print_rows
from silver.judge import Judge, Judged
from silver.refine import Refinement
from silver.rejects import CONFLICTING_ID, RULES
from silver.replay import after, refused_records
from silver.rows import replayed_rows

Say = Callable[[str], None]

_SENTENCES = {rule.name: rule.sentence for rule in (*RULES, CONFLICTING_ID)}
_SAMPLE_BYTES = 200
_DAYS = 14
_MOST_SCHEMAS = 1_000
"""Ids that a replay asks the registry for: the pipeline gives way meanwhile."""


Rule = Annotated[str | None, typer.Option(metavar="R", help="only records that break this rule")]


def list_refused(
    settings: Settings,
    console: Console,
    rule: Rule = None,
    samples: Annotated[int, typer.Option(metavar="N", help="how many of the newest to show")] = 5,
    as_json: AsJson = False,
) -> int:
    """What is refused today. A day is that on which a record was first seen.

    :raises InputError: no such rule.
    """
    _known(rule)
    chosen = "replayed_at IS NULL" + (f" AND list_contains(reasons, '{rule}')" if rule else "")
    by_rule = dicts_of(
        query(
            f"""SELECT unnest(reasons) AS rule, count(*) AS records, min(first_seen_at) AS first_at,
                       max(first_seen_at) AS last_at
                FROM silver.quarantine WHERE {chosen} GROUP BY 1 ORDER BY 2 DESC, 1""",
            settings,
        )
    )
    by_day = dicts_of(
        query(
            f"""SELECT first_seen_at::DATE AS first_seen_on, count(*) AS records FROM silver.quarantine WHERE {chosen}
                GROUP BY 1 ORDER BY 1 DESC LIMIT {_DAYS}""",
            settings,
        )
    )
    newest = dicts_of(
        query(
            f"""SELECT topic || '[' || partition || ']@' || "offset" AS place, first_seen_at, reasons,
                       octet_length(value) AS size_bytes, value[1:{_SAMPLE_BYTES}] AS value
                FROM silver.quarantine WHERE {chosen}
                ORDER BY first_seen_at DESC, topic, partition, "offset" LIMIT {int(samples)}""",
            settings,
        )
    )
    _say_origins(newest, settings)
    ((refused, replayed),) = query(
        f"SELECT count(*) FILTER ({chosen}), count(*) FILTER (replayed_at IS NOT NULL) FROM silver.quarantine", settings
    ).fetchall()
    for row in by_rule:
        row["sentence"] = _SENTENCES.get(row["rule"], "")
    if as_json:
        facts = {"records": refused, "replayed": replayed, "by_rule": by_rule, "by_day": by_day, "samples": newest}
        print(json.dumps(facts, default=plain))
        return 0
    console.print(f"{refused:,} records are refused; {replayed:,} others were replayed", highlight=False)
    for rows in (by_rule, by_day, newest):
        if rows:
            console.print()
            print_rows(rows, False, console)
    return 0


def _say_origins(samples: list[dict[str, Any]], settings: Settings) -> None:
    """Says of rows of files which line of which file they are, and why it could not be read: their headers have it."""
    places = [row["place"] for row in samples if row["place"].startswith(f"{settings.unreadable_topic}[")]
    if not places:
        return
    place = """topic || '[' || partition || ']@' || "offset\""""
    offsets = ",".join(text.rpartition("@")[2] for text in places)
    found = dict(
        query(f'SELECT {place}, headers FROM bronze.events WHERE "offset" IN ({offsets})', settings).fetchall()
    )
    for row in samples:
        of = {
            header["key"]: (header["value"] or b"").decode(errors="replace") for header in found.get(row["place"]) or ()
        }
        row["origin"] = f"{of.get('file')} line {of.get('line')}: {of.get('reason')}" if row["place"] in places else ""


@dataclass(frozen=True)
class Replay:
    """:param before: rule -> records that break it, of those that were judged.
    :param after: the same by today's rules.
    :param events: records that are refused no longer, and are new events.
    :param copies: records that are refused no longer, and are copies of an event.
    """

    records: int
    before: dict[str, int]
    after: dict[str, int]
    events: int
    copies: int


def replay(spark: SparkSession, settings: Settings, rule: str | None, dry_run: bool, say: Say, stop: Stop) -> Replay:
    """Judges what is refused by today's rules, and moves what is refused no longer into the other tables of silver.

    What is still refused stays, with today's reasons. Again, it changes nothing. Gold counts what has come out as it
    counts late events.

    The registry is asked again for schemas that it has denied; what it knows now is stored.

    :raises InputError: no such rule.
    :raises LockedError: a writer of silver, or with a registry of bronze, does not give way.
    :raises ServiceError: the registry cannot be asked.
    """
    _known(rule)
    refuse_unfinished(spark, settings)
    known, seen = WriterSchemas(spark, settings), SeenSchemas(spark, settings)
    if dry_run:
        judge = Judge(spark, settings, commits.last_note(spark, SILVER_EVENTS, settings), known)

        def learn(ids: Collection[int]) -> bool:
            found = seen.find(ids, _MOST_SCHEMAS)
            known.by_id |= {schema_id: schema.text for schema_id, schema in found.items()}
            return bool(found)

        return _replay(spark, settings, rule, judge.judge, learn, judge.remember, say, stop)
    layers = ("bronze", "silver") if settings.registry_url else ("silver",)
    with writers_paused(settings, layers, "the replay of the quarantine", say):
        refinement = Refinement(spark, settings, known)

        def store(ids: Collection[int]) -> bool:
            found = seen.find(ids, _MOST_SCHEMAS)
            seen.store(found, datetime.now(UTC))
            return bool(found)

        def settle(judged: Judged) -> None:
            now = datetime.now(UTC)
            if not replayed_rows(judged.records, now).isEmpty():
                refinement.write_replayed(judged, now)

        return _replay(spark, settings, rule, refinement.judge, store, settle, say, stop)


def _replay(
    spark: SparkSession,
    settings: Settings,
    rule: str | None,
    judge: Callable[[DataFrame], Judged],
    learn: Callable[[Collection[int]], bool],
    settle: Callable[[Judged], None],
    say: Say,
    stop: Stop,
) -> Replay:
    """In lots of `max_batch_rows`, each of which is committed before the next is judged.

    :param learn: gets the ids of schemas that are not known; are some of them known now?
    """
    refused = refused_records(spark, settings, rule)
    total, done = refused.count(), 0
    before: Counter[str] = Counter()
    later: Counter[str] = Counter()
    events = copies = 0
    place: tuple[Any, ...] | None = None
    while done < total and not stop.is_set():
        lot = after(refused, place, settings.max_batch_rows)
        judged = judge(lot)
        if judged.unknown_schemas and learn(judged.unknown_schemas):
            judged.release()
            judged = judge(lot)
        columns = judged.records.select("first_seen_at", "topic", "partition", "offset", "old_reasons").toArrow()
        settle(judged)
        judged.release()
        before.update(reason for reasons in columns["old_reasons"].to_pylist() for reason in reasons)
        later.update(judged.counts["reasons"])
        events += judged.counts["events"]
        copies += judged.counts["duplicates"]
        done += columns.num_rows
        names = ("first_seen_at", "topic", "partition", "offset")
        place = max(zip(*(columns[name].to_pylist() for name in names), strict=True))
        say(f"{done:,} of {total:,} refused records judged")
    return Replay(done, dict(before.most_common()), dict(later.most_common()), events, copies)


def replay_refused(
    settings: Settings,
    console: Console,
    say: Say,
    rule: Rule = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would become of them")] = False,
    as_json: AsJson = False,
) -> int:
    """What is refused no longer becomes an event. Again, it changes nothing."""
    stop = Stop().listen()
    with spark_session("storefront replay", settings) as spark:
        done = replay(spark, settings, rule, dry_run, say, stop)
    if as_json:
        print(json.dumps(asdict(done) | {"dry_run": dry_run}))
        return 0
    rules = {rule: (done.before.get(rule, 0), done.after.get(rule, 0)) for rule in {**done.before, **done.after}}
    rows = [{"rule": rule, "before": before, "after": now} for rule, (before, now) in rules.items()]
    if rows:
        print_rows(rows, False, console)
    would = "would become" if dry_run else "became"
    console.print(
        f"{done.records:,} refused records judged: {done.events:,} {would} events, {done.copies:,} copies,"
        f" {done.records - done.events - done.copies:,} stay refused",
        highlight=False,
    )
    return 0


def _known(rule: str | None) -> None:
    if rule is not None and rule not in _SENTENCES:
        raise InputError(f"There is no rule {rule!r}.", f"one of {', '.join(_SENTENCES)}")
