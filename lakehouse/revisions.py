"""Facts -> rows with a revision, which rises only for what has changed."""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.tables import Table


def revised(facts: DataFrame, old: DataFrame, table: Table, revision: int, now: datetime) -> DataFrame:
    """In: one row per key, the facts of the table; and its rows as they are. Out: the rows of the table: those whose
    facts are what they were keep their revision, the others get this one.
    """
    kinds = {name: table.schema[name].dataType for name in table.facts}
    fresh = facts.select(*(F.col(name).cast(kind).alias(name) for name, kind in kinds.items()))
    before = old.select(
        *table.keys, F.struct(*table.facts).alias("old"), F.col("revision").alias("old_revision"), "updated_at"
    )
    is_same = F.col("old").eqNullSafe(F.struct(*table.facts))
    return (
        fresh.join(before, list(table.keys), how="left")
        .withColumns(
            {
                "revision": F.when(is_same, F.col("old_revision")).otherwise(F.lit(revision).cast("bigint")),
                "updated_at": F.when(is_same, F.col("updated_at")).otherwise(F.lit(now)),
            }
        )
        .select(*table.schema.fieldNames())
    )


def in_revision(facts: DataFrame, table: Table, revision: int, now: datetime) -> DataFrame:
    """In: facts of a table. Out: its rows, all in this revision."""
    made = {"revision": F.lit(revision).cast("bigint"), "updated_at": F.lit(now)}
    kinds = [F.col(name).cast(table.schema[name].dataType).alias(name) for name in table.facts]
    return facts.select(*kinds).withColumns(made).select(*table.schema.fieldNames())


def keys_gone(old_rows: DataFrame, new_rows: DataFrame, table: Table) -> DataFrame:
    """In: rows of a table, or their keys, as they were and as they are to be. Out: one row per key that is gone."""
    keys = list(table.keys)
    return old_rows.select(*keys).distinct().join(new_rows, keys, how="left_anti")


def on_days(rows: DataFrame, table: Table, days: list[str]) -> DataFrame:
    """The rows in the folders of these days; all rows of a table without folders."""
    if not table.partition_by:
        return rows
    return rows.where(F.col(table.partition_by[0]).isin([datetime.fromisoformat(day).date() for day in days]))
