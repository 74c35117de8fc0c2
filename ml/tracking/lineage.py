"""Where a model comes from: a version of silver, a version of the code, and the input itself, kept for good."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pyarrow as pa
from delta.tables import DeltaTable
from pyspark.sql import SparkSession

from lakehouse import commits
from lakehouse.clock import at_us
from lakehouse.errors import TableError
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_EVENTS
from lakehouse.values import frame_of_table

ROW = "row"
"""The place of a row in the input. Sums of floats depend on it, to the last bit."""

RAW_IDS = ("user_id", "user_session", "session_key", "event_id")
"""What would lead from a row to a customer. It is not kept, so that forgetting a customer leaves inputs as they are."""


@dataclass(frozen=True)
class Origin:
    """:param clock_at: up to when silver.events had all events, by the store clock."""

    silver_version: int
    committed_at: datetime
    clock_at: datetime
    code: str

    @property
    def name(self) -> str:
        """For people."""
        return f"silver {self.silver_version}, {self.clock_at:%Y-%m-%d %H:%M}"

    def tags(self) -> dict[str, str]:
        return {
            "silver_version": str(self.silver_version),
            "silver_committed_at": self.committed_at.isoformat(),
            "store_clock_at": self.clock_at.isoformat(),
            "code": self.code,
        }


def newest_origin(spark: SparkSession, settings: Settings) -> Origin:
    """Silver as it is now.

    :raises TableError: there is none, or it is empty.
    """
    found = commits.current_version(spark, SILVER_EVENTS, settings)
    clock_us = commits.last_note(spark, SILVER_EVENTS, settings).get("clock_us")
    if clock_us is None:
        raise TableError(
            f"silver.events in {settings.lake_url} has no events.", "events to learn from", "run `lakehouse up` first"
        )
    history = DeltaTable.forPath(spark, SILVER_EVENTS.path(settings)).history(1).select("timestamp")
    committed_at = history.toArrow()["timestamp"][0].as_py().astimezone(UTC)
    return Origin(found, committed_at, at_us(clock_us), code_version())


def code_version() -> str:
    """The commit of this code, with a `+` where files differ from it; of an installed package its version."""
    here = Path(__file__).resolve().parents[2]
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
        return told.stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return f"storefront-lakehouse {version('storefront-lakehouse')}"


def keep_input(spark: SparkSession, settings: Settings, run_id: str, rows: pd.DataFrame) -> str:
    """Writes the input of a training as a Delta table of its own, once, without RAW_IDS. Out: its URL."""
    url = input_url(settings, run_id)
    kept = rows.drop(columns=list(RAW_IDS), errors="ignore").reset_index(drop=True).rename_axis(ROW).reset_index()
    frame = frame_of_table(spark, pa.Table.from_pandas(kept, preserve_index=False))
    frame.write.format("delta").mode("errorifexists").save(url)
    return url


def kept_input(spark: SparkSession, settings: Settings, run_id: str) -> pd.DataFrame:
    """The input of a training, in its order.

    :raises TableError: it is not in this lake.
    """
    if not DeltaTable.isDeltaTable(spark, input_url(settings, run_id)):
        raise TableError(
            f"The input of run {run_id} is not in {settings.lake_url}.",
            "the lake in which the model was trained, with `ml/inputs`",
            "train anew: `lakehouse ml train`",
        )
    rows = spark.read.format("delta").load(input_url(settings, run_id)).toArrow().to_pandas()
    return rows.sort_values(ROW).drop(columns=ROW).reset_index(drop=True)


def input_url(settings: Settings, run_id: str) -> str:
    return f"{settings.lake_url}/ml/inputs/{run_id}"
