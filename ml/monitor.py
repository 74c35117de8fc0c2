"""Keeps gold.model_drift: judges the days that are complete, for the champions in force, each day once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from lakehouse import commits
from lakehouse.clock import at_us
from lakehouse.errors import LakehouseError, LockedError, TableError
from lakehouse.locks import writer_of
from lakehouse.rounds import alongside
from lakehouse.settings import Settings
from lakehouse.streams import Stop
from lakehouse.tables import GOLD_MODEL_DRIFT, SILVER_EVENTS
from lakehouse.values import frame_of_rows
from ml.drift.days import Judged, Span
from ml.drift.measures import OUTCOME, PSI
from ml.drift.standing import NEWEST_DAYS, Row, Standing, newest_rows, standings
from ml.lifetime_value import registry as lifetime_registry
from ml.lifetime_value.drift import CustomerDrift
from ml.purchase_intent import registry as intent_registry
from ml.purchase_intent.drift import CartDrift
from ml.tracking.runs import Runs

log = logging.getLogger("lakehouse")


class Watch(Protocol):
    """A champion whose days are judged. `features`, `outcomes`: the days of which either can be asked."""

    @property
    def features(self) -> Span: ...

    @property
    def outcomes(self) -> Span: ...

    def judge(
        self, events: DataFrame, clock_at: datetime, features_on: Sequence[date], outcomes_on: Sequence[date]
    ) -> Iterator[Judged]: ...


WATCHES: Mapping[str, Callable[[SparkSession, Settings, Runs, ModelVersion], Watch]] = {
    lifetime_registry.NAME: CustomerDrift,
    intent_registry.NAME: CartDrift,
}


@dataclass(frozen=True)
class DriftRow:
    """A row of gold.model_drift."""

    model_name: str
    model_version: int
    observed_on: date
    measure: str
    variable: str
    rows: int
    value: float | None
    expected: float | None
    low: float | None
    high: float | None
    is_within: bool | None
    computed_at: datetime


def keep_drift(
    spark: SparkSession, settings: Settings, runs: Runs, now: datetime, newest_days: int = NEWEST_DAYS
) -> list[DriftRow]:
    """Judges for each champion the newest days that are complete and have not been, in one commit. Out: the new rows.

    A day is complete when the store clock, by the newest event, is `late_s` past its end; what comes later changes
    nothing. A model that cannot be judged is named, in the log and in the note of the commit, and does not keep the
    other from it.

    :param now: wall time.
    :raises LockedError: another process does so now.
    """
    with writer_of(("drift",), settings):
        commits.create_tables(spark, (GOLD_MODEL_DRIFT,), settings)
        told = [_told(spark, settings, runs, name, now, newest_days) for name in WATCHES]
        rows = [row for each in told for row in each.rows]
        note = {"models": {each.model: {"version": each.version, "reason": each.reason} for each in told}}
        if rows or note != commits.last_note(spark, GOLD_MODEL_DRIFT, settings):
            frame = frame_of_rows(spark, [asdict(row) for row in rows], GOLD_MODEL_DRIFT.schema)
            commits.append(frame, GOLD_MODEL_DRIFT, settings, note)
    for standing in standings(note, [asdict(row) for row in rows]):
        if standing.is_within is False:
            log.warning("%s %s", standing.model, standing.said)
    return rows


def judged_alongside(
    spark: SparkSession, settings: Settings, stop: Stop, every_s: float = 600.0
) -> AbstractContextManager[None]:
    """Keeps the table while the block runs: a day is judged soon after it is complete, and so is a new champion."""
    runs = Runs(settings)

    def judge(own: Stop) -> None:
        while not own.wait(every_s):
            with suppress(LockedError):  # somebody asks for it by hand, who judges the same days
                keep_drift(spark, settings, runs, datetime.now(UTC))

    return alongside(judge, stop)


def kept_drift(spark: SparkSession, settings: Settings) -> tuple[list[Standing], list[Row]]:
    """How each champion stands, and the rows of gold.model_drift that this rests on."""
    note = commits.last_note(spark, GOLD_MODEL_DRIFT, settings)
    rows = commits.read_table(spark, GOLD_MODEL_DRIFT, settings).toArrow().to_pylist()
    return standings(note, rows), newest_rows(note, rows)


@dataclass(frozen=True)
class _Told:
    """What became of one model. :param reason: why there may be no rows."""

    model: str
    version: int | None
    rows: Sequence[DriftRow]
    reason: str


def _told(spark: SparkSession, settings: Settings, runs: Runs, model: str, now: datetime, newest_days: int) -> _Told:
    version = None
    try:
        champion = runs.champion(model)
        if champion is None:
            return _Told(model, None, (), "there is no champion")
        version = int(champion.version)
        watch = WATCHES[model](spark, settings, runs, champion)
        found = list(_judged(spark, settings, watch, _done(spark, settings, model, version), newest_days))
    except LakehouseError as error:
        log.warning("drift of %s: %s", model, error)
        return _Told(model, version, (), error.found)
    except (MlflowException, OSError) as error:
        log.warning("drift of %s: MLflow: %s", model, error)
        return _Told(model, version, (), f"MLflow: {error}")
    rows = [DriftRow(model, version, day, **vars(measured), computed_at=now) for day, measured in found]
    return _Told(model, version, rows, "")


def _judged(
    spark: SparkSession, settings: Settings, watch: Watch, done: set[tuple[date, str]], newest_days: int
) -> Iterator[Judged]:
    """:raises TableError: no day is complete."""
    silver_version = commits.current_version(spark, SILVER_EVENTS, settings)
    clock_us = commits.last_note(spark, SILVER_EVENTS, settings).get("clock_us")
    if clock_us is None:
        raise TableError("silver.events has no events")
    known_at = at_us(clock_us) - timedelta(seconds=settings.late_s)
    asked = {PSI: watch.features.days(known_at, newest_days), OUTCOME: watch.outcomes.days(known_at, newest_days)}
    if not any(asked.values()):
        since_at = watch.features.since_at
        raise TableError(f"no day is complete since {since_at:%Y-%m-%d %H:%M} UTC, up to when it has learned")
    features_on, outcomes_on = ([day for day in days if (day, name) not in done] for name, days in asked.items())
    if features_on or outcomes_on:
        events = commits.read_table(spark, SILVER_EVENTS, settings, silver_version)
        yield from watch.judge(events, known_at, features_on, outcomes_on)


def _done(spark: SparkSession, settings: Settings, model: str, version: int) -> set[tuple[date, str]]:
    rows = commits.read_table(spark, GOLD_MODEL_DRIFT, settings)
    mine = rows.where((F.col("model_name") == model) & (F.col("model_version") == version))
    days = mine.select("observed_on", "measure").distinct().toArrow().to_pylist()
    return {(row["observed_on"], row["measure"]) for row in days}
