"""The log of what a reader of old windows has to know: they had been complete, and have changed."""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse import commits
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_PRODUCT_SALES, GOLD_SALES_CORRECTIONS

_COMPARED = ("units", "revenue", "refund_amount")


def corrections_in(
    spark: SparkSession, settings: Settings, version: int, before: commits.Note, note: commits.Note, now: datetime
) -> DataFrame | None:
    """The corrections that a version of gold.product_sales makes to the one before it; None if it has no old window.

    :param before: the note of the version before. Its clock says which windows were complete then: those that had
        ended longer ago than the setting late_s.
    :raises GoneError: the files of one of these versions have been removed since.
    """
    clock_us, oldest_us = before.get("clock_us"), note.get("oldest_us")
    is_rebuild = "rebuild" in note
    if clock_us is None or not (is_rebuild or oldest_us):
        return None
    complete_us = clock_us - settings.late_s * 1_000_000
    if oldest_us and oldest_us + settings.sales_window_s * 1_000_000 > complete_us:
        return None
    oldest = F.timestamp_micros(F.lit(oldest_us or 0))
    is_old = (F.col("window_start_at") >= oldest) & (F.unix_micros("window_end_at") <= complete_us)
    old, new = (
        commits.read_old(spark, GOLD_PRODUCT_SALES, settings, at).where(is_old) for at in (version - 1, version)
    )
    return corrections(old, new, "rebuild" if is_rebuild else "late", note["revision"], now)


def corrections(old: DataFrame, new: DataFrame, reason: str, revision: int, corrected_at: datetime) -> DataFrame:
    """In: rows of gold.product_sales before and after. Out: one row per window and product whose sums differ, the
    columns of gold.sales_corrections; a row that is not there has sums of zero.

    :param revision: of the correction of a row that is gone.
    """
    keys = list(GOLD_PRODUCT_SALES.keys)
    before = old.select(*keys, *(F.col(name).alias(f"old_{name}") for name in _COMPARED))
    after = new.select(*keys, *(F.col(name).alias(f"new_{name}") for name in _COMPARED), "revision")
    pairs = before.join(after, keys, how="full")
    sums = {name: _or_zero(name, new) for name in pairs.columns if name[:4] in ("old_", "new_")}
    made = {"reason": F.lit(reason), "corrected_at": F.lit(corrected_at)}
    made["revision"] = F.coalesce("revision", F.lit(revision).cast("bigint"))
    differs = [F.col(f"old_{name}") != F.col(f"new_{name}") for name in _COMPARED]
    changed = pairs.withColumns(sums).where(differs[0] | differs[1] | differs[2])
    return changed.withColumns(made).select(*GOLD_SALES_CORRECTIONS.schema.fieldNames())


def _or_zero(name: str, rows: DataFrame) -> Column:
    kind = rows.schema[name[4:]].dataType
    return F.coalesce(F.col(name), F.lit(0).cast(kind))
