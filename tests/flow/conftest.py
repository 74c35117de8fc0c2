"""A lake with the smallest memory that the settings allow, so that tests reach what lies beyond it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lakehouse import commits, streams
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_PRODUCT_SALES
from tests.flow.steps import SILVER, Lake, keep_only


def small(home: Path) -> Settings:
    # No round of gold by the clock: only the one that ends a run.
    return Settings(home=home, recent_s=60, recent_rows=1000, round_s=3600.0, sessions_s=0.0)


@pytest.fixture(scope="session")
def _empty_lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The tables of silver's and gold's steps, just made. To make them takes as long as a step."""
    lake = Lake(spark, small(tmp_path_factory.mktemp("empty")))
    commits.create_tables(spark, (*SILVER, GOLD_PRODUCT_SALES), lake.settings)
    return lake


@pytest.fixture
def lake(_empty_lake: Lake, tmp_path: Path) -> Lake:
    return _empty_lake.copy(tmp_path / "home")


@pytest.fixture(scope="module")
def shared_lake(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """For what the tests of a module begin with: each goes on with a copy of its own."""
    return Lake(spark, small(tmp_path_factory.mktemp("shared")))


@pytest.fixture
def file_by_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams from tables get one file a batch."""
    monkeypatch.setattr(streams, "_BATCH_BYTES", "1")


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`only(tables)`, see `keep_only`."""
    return partial(keep_only, monkeypatch)
