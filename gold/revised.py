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
