"""Puts the tables of a rebuild in the place of those in force: a commit each, and a manifest that makes them one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from pyspark.sql import DataFrame, SparkSession

from gold.whole import first_revision, sales_gone
from lakehouse import commits, manifests
from lakehouse.files import delete_folder
from lakehouse.manifests import Manifest
from lakehouse.publication import in_lots, keys_of
from lakehouse.revisions import in_revision, keys_gone
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_PRODUCT_SALES, PUBLISHED, SILVER_DUPLICATES, SILVER_EVENTS, SILVER_QUARANTINE, Table
from lakehouse.topics import Topics
from operate import derived
from operate.beside import side_of
from operate.compare import SILVER
from operate.derived import carts_at, derived_tables
from silver.rows import with_history

Say = Callable[[str], None]


def begin(
    layer: str, spark: SparkSession, settings: Settings, note: commits.Note | None, began_at: datetime
) -> Manifest:
    """From here on the rebuild is to be finished. :param note: of the rebuilt silver; None: it stays."""
    last = manifests.newest(spark, settings)
    tables = (*SILVER, *derived_tables())
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


def finish(spark: SparkSession, settings: Settings, topics: Topics, manifest: Manifest, say: Say) -> Manifest:
    """Commits what the manifest says and is not committed yet, then publishes. Out: the manifest, done.

    For the writer of silver and gold only. A table that is past its version before the rebuild is committed: nobody
    else writes it meanwhile.
    """
    mark = {"rebuild": manifest.number}
    if manifest.note is not None:
        manifest = _commit_silver(spark, settings, manifest, manifest.note | mark, say)
    silver_version = manifest.after.get(SILVER_EVENTS.name, manifest.before[SILVER_EVENTS.name])
    manifest = _commit_derived(spark, settings, manifest, {"silver_version": silver_version} | mark, say)
    _publish(spark, settings, topics, manifest, say)
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


def _commit_derived(
    spark: SparkSession, settings: Settings, manifest: Manifest, mark: commits.Note, say: Say
) -> Manifest:
    """Each table after those that it is made of."""
    now, clock = datetime.now(UTC), carts_at(spark, settings)

    def version(table: Table) -> int:
        return manifest.after[table.name] if table.name in manifest.after else int(mark["silver_version"])

    def read(table: Table) -> DataFrame:
        return commits.read_table(spark, table, settings, version(table))

    for each in derived.DERIVED:
        before = commits.last_note(spark, each.table, settings)
        if each.table == GOLD_PRODUCT_SALES:
            revision = first_revision(manifest.generation)
            note = {name: before[name] for name in ("clock_us",) if name in before}
            note |= {"generation": manifest.generation, "revision": revision}
        else:
            revision = before.get("revision", 0) + 1
            note = {"revision": revision, "published": revision}  # all are published before the manifest says `done`
        note |= each.note(version, settings, clock) | mark
        rows = in_revision(each.whole(read, settings, clock), each.table, revision, now)
        manifest = _commit(spark, settings, manifest, each.table, rows, note, say)
    return manifest


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


def _publish(spark: SparkSession, settings: Settings, topics: Topics, manifest: Manifest, say: Say) -> None:
    """Every row in its new revision, and a tombstone for every key that is gone. Again, if it was cut short."""
    for table in (each for each in derived_tables() if each in PUBLISHED):
        rows = commits.read_table(spark, table, settings, manifest.after[table.name])
        old = _as_before(spark, table, settings, manifest)
        if table == GOLD_PRODUCT_SALES:
            old_events = _as_before(spark, SILVER_EVENTS, settings, manifest)
            gone = sales_gone(old, old_events, settings.sales_window_s, rows)
        else:
            gone = keys_gone(old, rows, table)
        revision = commits.last_note(spark, table, settings)["revision"]
        published = withdrawn = 0
        for lot in in_lots(rows.toArrow()):
            topics.publish(table, lot)
            published += len(lot)
        for lot in in_lots(gone.toArrow()):
            topics.withdraw(table, keys_of(lot, table), revision)
            withdrawn += len(lot)
        say(f"{table.topic(settings)}: {published:,} rows published, {withdrawn:,} keys withdrawn")


def _as_before(spark: SparkSession, table: Table, settings: Settings, manifest: Manifest) -> DataFrame:
    return commits.read_table(spark, table, settings, manifest.before[table.name])


def finish_begun(spark: SparkSession, settings: Settings, topics: Topics, say: Say) -> None:
    """For the writer of silver and gold: commits what an interrupted rebuild has left to commit, if there is one."""
    manifest = manifests.newest(spark, settings)
    if manifest is not None and manifest.done_at is None:
        say(f"finishing the rebuild of {manifest.layer} that began at {manifest.began_at}")
        finish(spark, settings, topics, manifest, say)
        delete_folder(spark, side_of(settings).lake_url)
