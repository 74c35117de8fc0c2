"""The record of each rebuild: which versions of which tables belong together.

A rebuild commits several tables, one after the other. Its manifest is written before the first of them and says what is
to be done; until it says `done`, no job reads or writes half of it (docs/decisions/0011-rebuild.md).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from pyspark.sql import SparkSession

from lakehouse.errors import TableError
from lakehouse.files import list_names, read_text, write_text
from lakehouse.settings import Settings


@dataclass(frozen=True)
class Manifest:
    """:param before: table -> its version before the rebuild.
    :param after: table -> its version that the rebuild made, for those that are committed.
    :param note: of the rebuilt silver.events, but for `beside`; None when silver is not rebuilt.
    :param generation: of gold's revisions.
    """

    number: int
    layer: str
    began_at: str
    before: dict[str, int]
    after: dict[str, int]
    note: dict[str, Any] | None
    generation: int
    done_at: str | None = None

    def with_version(self, table: str, version: int) -> Manifest:
        return replace(self, after=self.after | {table: version})


def folder(settings: Settings) -> str:
    return f"{settings.lake_url}/_rebuilds"


def newest(spark: SparkSession, settings: Settings) -> Manifest | None:
    """The last rebuild that came to commit tables, done or not."""
    names = [name for name in list_names(spark, folder(settings)) if name.endswith(".json")]
    if not names:
        return None
    return Manifest(**json.loads(read_text(spark, f"{folder(settings)}/{max(names)}")))


def save(spark: SparkSession, settings: Settings, manifest: Manifest) -> None:
    """A file for each step: the newest is in force."""
    step = len(manifest.after) + (manifest.done_at is not None)
    name = f"{manifest.number:06d}-{step:02d}.json"
    write_text(spark, f"{folder(settings)}/{name}", json.dumps(asdict(manifest), indent=1))


def refuse_unfinished(spark: SparkSession, settings: Settings) -> None:
    """:raises TableError: a rebuild has committed some of its tables, and not all."""
    manifest = newest(spark, settings)
    if manifest is not None and manifest.done_at is None:
        raise TableError(
            f"The rebuild of {manifest.layer} that began at {manifest.began_at} has not committed all of its tables.",
            "tables that belong together",
            f"run `lakehouse rebuild {manifest.layer}` again: it finishes what is left (so does `lakehouse up`)",
        )
