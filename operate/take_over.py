"""Puts the tables of a rebuild in the place of those in force: a commit each, and a manifest that makes them one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from pyspark.sql import DataFrame, SparkSession

from gold.aggregate import Key, Row
from gold.whole import first_revision, in_lots, keys_gone, keys_of, whole_sales
from lakehouse import commits, manifests
from lakehouse.files import delete_folder
from lakehouse.manifests import Manifest
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_PRODUCT_SALES, SILVER_DUPLICATES, SILVER_EVENTS, SILVER_QUARANTINE, Table
from operate.beside import side_of
from operate.compare import SILVER
from silver.rows import with_history

Say = Callable[[str], None]

_LOT = 10_000


class Topic(Protocol):
    """Where gold's rows go (gold.topics.SalesTopic)."""

    def publish(self, rows: list[Row], paid_at_us: dict[Key, int]) -> None: ...

    def withdraw(self, keys: list[Key], revision: int) -> None: ...


def begin(
    layer: str, spark: SparkSession, settings: Settings, note: commits.Note | None, began_at: datetime
) -> Manifest:
    """From here on the rebuild is to be finished. :param note: of the rebuilt silver; None: it stays."""
    last = manifests.newest(spark, settings)
    tables = (*SILVER, GOLD_PRODUCT_SALES)
    commits.create_tables(spark, tables, settings)
    manifest = Manifest(
        number=1 if last is None else last.number + 1,
        layer=layer,
        began_at=began_at.isoformat(),
        before={table.name: commits.current_version(spark, table, settings) for table in tables},
        after={},
        note=note,
        generation=commits.last_note(spark, GOLD_PRODUCT_SALES, settings).get("generation", 0) + 1,
    )
    manifests.save(spark, settings, manifest)
    return manifest


def finish(spark: SparkSession, settings: Settings, topic: Topic, manifest: Manifest, say: Say) -> Manifest:
    """Commits what the manifest says and is not committed yet, then publishes. Out: the manifest, done.

    For the writer of silver and gold only. A table that is past its version before the rebuild is committed: nobody
    else writes it meanwhile.
    """
    mark = {"rebuild": manifest.number}
    if manifest.note is not None:
        manifest = _commit_silver(spark, settings, manifest, manifest.note | mark, say)
    silver_version = manifest.after.get(SILVER_EVENTS.name, manifest.before[SILVER_EVENTS.name])
    window_s, generation = settings.sales_window_s, manifest.generation
    events = commits.read_table(spark, SILVER_EVENTS, settings, silver_version)
    rows = whole_sales(events, window_s, generation, datetime.now(UTC))
    note = {"silver_version": silver_version, "generation": generation, "window_s": window_s} | mark
    manifest = _commit(spark, settings, manifest, GOLD_PRODUCT_SALES, rows, note, say)
    _publish(spark, settings, topic, manifest, say)
    done = replace(manifest, done_at=datetime.now(UTC).isoformat())
    manifests.save(spark, settings, done)
    return done


def _commit_silver(
    spark: SparkSession, settings: Settings, manifest: Manifest, note: commits.Note, say: Say
) -> Manifest:
    """silver.events last: its note says which versions of the others belong to it."""
    rows = {table: commits.read_table(spark, table, side_of(settings)) for table in SILVER}
    old = _as_before(spark, SILVER_QUARANTINE, settings, manifest)
    rows[SILVER_QUARANTINE] = with_history(rows[SILVER_QUARANTINE], old)
    for table in (SILVER_DUPLICATES, SILVER_QUARANTINE):
        manifest = _commit(spark, settings, manifest, table, rows[table], note, say)
    beside = {table.name: manifest.after[table.name] for table in (SILVER_DUPLICATES, SILVER_QUARANTINE)}
    return _commit(spark, settings, manifest, SILVER_EVENTS, rows[SILVER_EVENTS], note | {"beside": beside}, say)


def _commit(
    spark: SparkSession,
    settings: Settings,
    manifest: Manifest,
    table: Table,
    rows: DataFrame,
    note: commits.Note,
    say: Say,
) -> Manifest:
    if table.name in manifest.after:
        return manifest
    version = commits.current_version(spark, table, settings)
    if version == manifest.before[table.name]:
        version = commits.overwrite(rows, table, settings, note)
    say(f"{table.name}: version {version} takes the place of {manifest.before[table.name]}")
    manifest = manifest.with_version(table.name, version)
    manifests.save(spark, settings, manifest)
    return manifest


def _publish(spark: SparkSession, settings: Settings, topic: Topic, manifest: Manifest, say: Say) -> None:
    """Every row of gold in its new revision, and a tombstone for every key that is gone. Again, if it was cut short."""
    version = manifest.after[GOLD_PRODUCT_SALES.name]
    rows = commits.read_table(spark, GOLD_PRODUCT_SALES, settings, version)
    gone = keys_gone(
        _as_before(spark, GOLD_PRODUCT_SALES, settings, manifest),
        _as_before(spark, SILVER_EVENTS, settings, manifest),
        settings.sales_window_s,
        rows,
    )
    published = withdrawn = 0
    for lot in in_lots(rows, _LOT):
        topic.publish(lot, {})
        published += len(lot)
    for lot in in_lots(gone, _LOT):
        topic.withdraw(keys_of(lot), first_revision(manifest.generation))
        withdrawn += len(lot)
    say(f"{settings.sales_topic}: {published:,} rows published, {withdrawn:,} keys withdrawn")


def _as_before(spark: SparkSession, table: Table, settings: Settings, manifest: Manifest) -> DataFrame:
    return commits.read_table(spark, table, settings, manifest.before[table.name])


def finish_begun(spark: SparkSession, settings: Settings, topic: Topic, say: Say) -> None:
    """For the writer of silver and gold: commits what an interrupted rebuild has left to commit, if there is one."""
    manifest = manifests.newest(spark, settings)
    if manifest is not None and manifest.done_at is None:
        say(f"finishing the rebuild of {manifest.layer} that began at {manifest.began_at}")
        finish(spark, settings, topic, manifest, say)
        delete_folder(spark, side_of(settings).lake_url)
