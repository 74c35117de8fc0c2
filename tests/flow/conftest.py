"""A lake with the smallest memory that the settings allow, so that tests reach what lies beyond it."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

from lakehouse import streams
from lakehouse.settings import Settings
from tests.flow.steps import Lake


@pytest.fixture
def lake(spark: SparkSession, settings: Settings) -> Lake:
    # No round of gold by the clock: only the one that ends a run.
    small = settings.model_copy(update={"recent_s": 60, "recent_rows": 1000, "gold_round_s": 3600.0})
    return Lake(spark, small)


@pytest.fixture
def file_by_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams from tables get one file a batch."""
    monkeypatch.setattr(streams, "_BATCH_BYTES", "1")
