"""What a rebuild has built beside the lake, compared with bronze and with the tables in force."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from lakehouse.errors import TableError
from lakehouse.settings import Settings
from lakehouse.tables import (
    BRONZE_EVENTS,
    SILVER_DUPLICATES,
    SILVER_EVENTS,
    SILVER_QUARANTINE,
    Table,
)
from operate.content import Content, content_hash
from operate.derived import derived_tables
from operate.lake import Commit, commits_of, open_dataset, query

SILVER = (SILVER_EVENTS, SILVER_DUPLICATES, SILVER_QUARANTINE)


@dataclass(frozen=True)
class Comparison:
    """:param live: of the table in force, when it had read as much; None when it never stood at that point."""

    table: str
    live: Content | None
    rebuilt: Content

    @property
    def is_same(self) -> bool | None:
        return None if self.live is None else self.live == self.rebuilt

    def __str__(self) -> str:
        if self.live is None:
            return f"{self.table}: {self.rebuilt.rows:,} rows rebuilt; the table never stood at just this point"
        verdict = "the same content" if self.is_same else "OTHER content"
        return f"{self.table}: {self.live.rows:,} rows live, {self.rebuilt.rows:,} rebuilt, {verdict}"


def broken_places(settings: Settings, side: Settings, bronze_version: int) -> int:
    """Records of bronze up to this version that are not in exactly one table of the rebuilt silver, and rows of silver
    that are no such record.
    """
    place = 'topic, partition, "offset"'
    frames = {f"side_{n}": open_dataset(table, side) for n, table in enumerate(SILVER)}
    silver = " UNION ALL ".join(f"SELECT {place}, 1 AS found, 0 AS wanted FROM {name}" for name in frames)
    sql = f"""
        SELECT count(*) FROM (
            SELECT sum(found) AS found, sum(wanted) AS wanted
            FROM ({silver} UNION ALL SELECT {place}, 0, 1 FROM {BRONZE_EVENTS.name})
            GROUP BY {place}
        ) WHERE found <> 1 OR wanted <> 1"""
    ((broken,),) = query(sql, settings, bronze_version, **frames).fetchall()
    return int(broken)


def compare(table: Table, settings: Settings, side: Settings, live_version: int | None) -> Comparison:
    """:param live_version: of the table in force, when it had read as much as what is built; None: there is none."""
    live = None if live_version is None else content_hash(table, settings, live_version)
    return Comparison(table.name, live, content_hash(table, side))


def silver_at(bronze_version: int, settings: Settings) -> dict[str, int]:
    """The versions of the tables in force when silver had read bronze up to a version, and what follows from silver all
    of that; without those that never stood there.
    """
    for commit in _commits_of(SILVER_EVENTS, settings):
        if commit.note.get("bronze_version") == bronze_version:
            return {SILVER_EVENTS.name: commit.version} | commit.note["beside"] | derived_at(commit.version, settings)
    return {}


def derived_at(silver_version: int, settings: Settings) -> dict[str, int]:
    """The version of each derived table when it had read silver up to a version, of those that ever stood there."""
    versions = {}
    for table in derived_tables():
        at = (commit for commit in _commits_of(table, settings) if commit.note.get("silver_version") == silver_version)
        commit = next(at, None)
        if commit is not None:
            versions[table.name] = commit.version
    return versions


def _commits_of(table: Table, settings: Settings) -> list[Commit]:
    """None of a table that is not there: a rebuild makes it."""
    with suppress(TableError):
        return commits_of(table, settings)
    return []
