"""`lakehouse rebuild silver|gold`: builds a layer anew from the one before it, beside it, and puts it in its place.

The build and its checks run while everything else does. Then writers give way, the last batches are caught up with, and
each table is committed as one overwrite; its history stays. Killed at any point, the old tables are in force, or the
next call (or `lakehouse up`) commits the rest (docs/decisions/0011-rebuild.md).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

import typer
from pyspark.sql import SparkSession
from rich.console import Console

from lakehouse import manifests
from lakehouse.command import AsJson
from lakehouse.files import delete_folder
from lakehouse.manifests import Manifest
from lakehouse.session import spark_session
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from lakehouse.topics import GoldTopics, Topics
from lakehouse.wire import plain
from operate.beside import Build, GoldBeside, SilverBeside, side_of
from operate.compare import Comparison
from operate.pause import writers_paused
from operate.rounds import WRITES
from operate.stack import services_at_hand
from operate.take_over import begin, finish, finish_begun

Say = Callable[[str], None]

LAYERS = ("silver", "gold")
_WRITERS = (*LAYERS, *WRITES)


@dataclass(frozen=True)
class Outcome:
    """:param tables: what was rebuilt beside what was in force; none when it was stopped before.
    :param manifest: None when nothing was committed.
    """

    layer: str
    tables: list[Comparison]
    manifest: Manifest | None


def rebuild(
    layer: str, spark: SparkSession, settings: Settings, topics: Topics, dry_run: bool, say: Say, stop: Stop
) -> Outcome:
    """Rebuilds silver and gold with it, or gold alone. With `dry_run` it builds and compares, and commits nothing.

    :param topics: where the rows of gold are published.
    :raises TableError: what was built breaks a promise; nothing is committed.
    :raises LockedError: a writer does not give way.
    """
    begun = manifests.newest(spark, settings)
    if begun is not None and begun.done_at is None:
        with writers_paused(settings, _WRITERS, f"the rebuild of {begun.layer}", say):
            finish_begun(spark, settings, topics, say)
    try:
        return _rebuild(layer, spark, settings, topics, dry_run, say, stop)
    finally:
        left = manifests.newest(spark, settings)
        if left is None or left.done_at is not None:
            delete_folder(spark, side_of(settings).lake_url)


def _rebuild(
    layer: str, spark: SparkSession, settings: Settings, topics: Topics, dry_run: bool, say: Say, stop: Stop
) -> Outcome:
    began_at = datetime.now(UTC)
    delete_folder(spark, side_of(settings).lake_url)
    build: Build = SilverBeside(spark, settings, say) if layer == "silver" else GoldBeside(spark, settings, say)
    build.catch_up(stop)
    if dry_run or stop.is_set():
        return Outcome(layer, [] if stop.is_set() else build.compare(), None)
    with writers_paused(settings, _WRITERS, f"the rebuild of {layer}", say):
        stopped_s = time.monotonic()
        build.catch_up(stop)
        if stop.is_set():
            return Outcome(layer, [], None)
        compared = build.compare()
        manifest = finish(spark, settings, topics, begin(layer, spark, settings, build.note, began_at), say)
        say(f"writers had given way for {time.monotonic() - stopped_s:.1f} s")
    return Outcome(layer, compared, manifest)


def rebuild_layer(
    settings: Settings,
    console: Console,
    say: Say,
    layer: Annotated[Literal["silver", "gold"], typer.Argument(help="silver or gold")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="build and compare with the tables in force, then stop")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Exit code 1 when it was stopped before its end, or a dry run found other content."""
    stop = Stop().listen()
    with services_at_hand(settings, say) as reachable, spark_session("storefront rebuild", reachable) as spark:
        outcome = rebuild(layer, spark, reachable, GoldTopics(reachable), dry_run, say, stop)
    done, differs = bool(outcome.tables), any(table.is_same is False for table in outcome.tables)
    if as_json:
        facts = {"layer": outcome.layer, "manifest": outcome.manifest and asdict(outcome.manifest)}
        tables = [asdict(table) | {"is_same": table.is_same} for table in outcome.tables]
        print(json.dumps(facts | {"tables": tables}, default=plain))
    elif outcome.manifest is not None:
        versions = ", ".join(f"{table} {version}" for table, version in outcome.manifest.after.items())
        console.print(f"{outcome.layer} is rebuilt; in force are {versions}", highlight=False, soft_wrap=True)
    else:
        ended = "Nothing was committed." if dry_run else "Stopped. Nothing was committed; the old tables are in force."
        console.print(ended)
    return 0 if done and not (dry_run and differs) else 1
