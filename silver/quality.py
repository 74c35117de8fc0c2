"""What a batch was like, in numbers: kept in silver's commits, and as rows of silver.quality_log."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

from lakehouse import commits
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_EVENTS, SILVER_QUALITY_LOG
from lakehouse.values import frame_of_rows

MAY_BE_NULL = ("category_id", "category_code", "brand", "user_session", "extras")
"""The columns of an event that may have no value."""

Counts = dict[str, Any]
"""records, events, duplicates, quarantined, reasons (rule -> records), late, first_event_at_us, last_event_at_us (None
without events), nulls (column -> events without a value). Goes into a commit's note as JSON."""
Row = dict[str, Any]

_ADDED = ("records", "events", "duplicates", "quarantined", "late")
"""Of counts, and of rows of silver.quality_log, what is a plain number of records."""

log = logging.getLogger("lakehouse")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def null_mask() -> Column:
    """A bit for each column of MAY_BE_NULL that has no value, the first one's the lowest."""
    bits = [F.when(F.col(name).isNull(), 1 << place).otherwise(0) for place, name in enumerate(MAY_BE_NULL)]
    return sum(bits[1:], bits[0]).cast("int")


def count(summary: pa.Table, accepted: list[int], conflicts: int, late_before_us: int | None) -> Counts:
    """In: a row per record with `reasons`, `event_at_us` and `nulls` (of `null_mask`); the rows that are new events.

    :param conflicts: records that keep all rules but one which no column shows, `conflicting_id`.
    :param late_before_us: an event before this time is late; None: none is.
    """
    reasons = Counter(pc.list_flatten(summary["reasons"]).to_pylist())
    refused = pc.sum(pc.greater(pc.list_value_length(summary["reasons"]), 0)).as_py() or 0
    if conflicts:
        reasons["conflicting_id"] = conflicts
    events = summary.select(["event_at_us", "nulls"]).take(pa.array(accepted, pa.int64()))
    at_us = events["event_at_us"]
    bits = {name: pc.bit_wise_and(events["nulls"], 1 << place) for place, name in enumerate(MAY_BE_NULL)}
    return {
        "records": summary.num_rows,
        "events": len(accepted),
        "duplicates": summary.num_rows - refused - conflicts - len(accepted),
        "quarantined": refused + conflicts,
        "reasons": dict(sorted(reasons.items())),
        "late": 0 if late_before_us is None else pc.sum(pc.less(at_us, late_before_us)).as_py() or 0,
        "first_event_at_us": pc.min(at_us).as_py(),
        "last_event_at_us": pc.max(at_us).as_py(),
        "nulls": {name: pc.sum(pc.greater(is_null, 0)).as_py() or 0 for name, is_null in bits.items()},
    }


def counted_together(counts: Sequence[Counts]) -> Counts:
    """In: counts of batches, one after the other. Out: those of all together."""
    reasons, nulls = Counter[str](), Counter[str]()
    for each in counts:
        reasons.update(each["reasons"])
        nulls.update(each["nulls"])
    firsts, lasts = (
        [each[name] for each in counts if each[name] is not None] for name in ("first_event_at_us", "last_event_at_us")
    )
    return {name: sum(each[name] for each in counts) for name in _ADDED} | {
        "reasons": dict(sorted(reasons.items())),
        "first_event_at_us": min(firsts, default=None),
        "last_event_at_us": max(lasts, default=None),
        "nulls": dict(nulls),
    }


def quality_row(silver_version: int, note: commits.Note) -> Row:
    """In: a commit of silver.events whose note has counts. Out: its row of silver.quality_log."""
    counts: Counts = note["quality"]
    events = counts["events"]
    return {
        "silver_version": silver_version,
        "bronze_version": note["bronze_version"],
        "processed_at": _as_time(note["processed_at_us"]),
        "records": counts["records"],
        "events": events,
        "duplicates": counts["duplicates"],
        "quarantined": counts["quarantined"],
        "reasons": counts["reasons"],
        "late": counts["late"],
        "first_event_at": _as_time(counts["first_event_at_us"]),
        "last_event_at": _as_time(counts["last_event_at_us"]),
        "null_rates": {name: nulls / events for name, nulls in counts["nulls"].items()} if events else None,
    }


def newest(rows: Iterable[Row], settings: Settings) -> list[Row]:
    """In: rows of silver.quality_log, newest first. Out: the first of them, until they have as many records together as
    the setting quality_records.
    """
    taken: list[Row] = []
    records = 0
    for row in rows:
        if records >= settings.quality_records:
            break
        taken.append(row)
        records += row["records"]
    return taken


def totals(rows: Iterable[Mapping[str, Any]]) -> Row:
    """In: rows of silver.quality_log. Out: their sums, and rates over all of them (None of nothing)."""
    listed = list(rows)
    sums: Row = {name: sum(row[name] for row in listed) for name in _ADDED}
    reasons: Counter[str] = Counter()
    nulls: Counter[str] = Counter()
    for row in listed:
        reasons.update(dict(row["reasons"] or {}))
        nulls.update({name: rate * row["events"] for name, rate in dict(row["null_rates"] or {}).items()})
    rate = sums["quarantined"] / sums["records"] if sums["records"] else None
    null_rates = {name: nulls[name] / sums["events"] for name in MAY_BE_NULL} if sums["events"] else {}
    return sums | {"reasons": dict(reasons.most_common()), "quarantine_rate": rate, "null_rates": null_rates}


def out_of_band(sums: Mapping[str, Any], settings: Settings) -> list[str]:
    """In: `totals`. Out: a sentence for each rate that is out of the band which the settings give it.

    Fewer records than the setting quality_min_records say nothing.
    """
    if sums["records"] < settings.quality_min_records:
        return []
    found = []
    if sums["quarantine_rate"] > settings.quarantine_rate_max:
        most = ", ".join(f"{rule} {records:,}" for rule, records in list(sums["reasons"].items())[:3])
        found.append(
            f"{sums['quarantine_rate']:.1%} of the newest {sums['records']:,} records are refused ({most});"
            f" at most {settings.quarantine_rate_max:.1%} are expected"
        )
    for name, (low, high) in settings.null_bands.items():
        rate = sums["null_rates"].get(name)
        if rate is not None and not low <= rate <= high:
            share = f"{rate:.1%} of the newest {sums['events']:,} events have no {name}"
            found.append(f"{share}; {low:.1%} to {high:.1%} are expected")
    return found


class QualityLog:
    """Writes silver.quality_log, a row for each commit of silver.events that has counts in its note.

    The counts are in the commits already: a crash loses none, and writing the rows can wait for a slow round.
    """

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        # A session of its own: rounds run beside the batches, and the last version is known by session.
        self._spark, self._settings = spark.newSession(), settings
        logged = commits.last_note(spark, SILVER_QUALITY_LOG, settings).get("silver_version", -1)
        self._pending: deque[Row] = deque()
        self._newest: list[Row] = []
        self.warnings: list[str] = []
        for version, note in commits.notes_after(spark, SILVER_EVENTS, settings, logged):
            if "quality" in note:
                self.add(version, note)

    def add(self, silver_version: int, note: commits.Note) -> None:
        """silver.events has this commit."""
        self._pending.append(quality_row(silver_version, note))

    def write(self) -> int:
        """One round: the rows that are not in the table yet, in one commit; and a look at the newest records.

        Out: rows written.
        """
        commits.create_tables(self._spark, (SILVER_QUALITY_LOG,), self._settings)
        rows = [self._pending.popleft() for _ in range(len(self._pending))]
        if rows:
            frame = frame_of_rows(self._spark, rows, SILVER_QUALITY_LOG.schema)
            commits.append(frame, SILVER_QUALITY_LOG, self._settings, {"silver_version": rows[-1]["silver_version"]})
            self._newest = newest([*reversed(rows), *self._newest], self._settings)
            self._warn(out_of_band(totals(self._newest), self._settings))
        return len(rows)

    def _warn(self, warnings: list[str]) -> None:
        if bool(warnings) != bool(self.warnings):
            for line in warnings or ["the rates of the newest records are in their bands again"]:
                log.warning("quality: %s", line)
        self.warnings = warnings


def _as_time(at_us: int | None) -> datetime | None:
    return None if at_us is None else _EPOCH + timedelta(microseconds=at_us)
