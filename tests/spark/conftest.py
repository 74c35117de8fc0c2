"""Frames alone: here, unlike in flow, generated code calculates their rows, as in the jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pyspark.sql import SparkSession

_WHOLE_STAGE, _FACTORY = "spark.sql.codegen.wholeStage", "spark.sql.codegen.factoryMode"


@pytest.fixture(scope="package", autouse=True)
def _generated_code(spark: SparkSession) -> Iterator[None]:
    with _set(spark, {_WHOLE_STAGE: "true", _FACTORY: "FALLBACK"}):
        yield


@pytest.fixture
def interpreted(spark: SparkSession) -> Iterator[None]:
    """For plans so large that to make code takes most of the time, where other tests have the same calculated by it."""
    with _set(spark, {_WHOLE_STAGE: "false", _FACTORY: "NO_CODEGEN"}):
        yield


@contextmanager
def _set(spark: SparkSession, wanted: dict[str, str]) -> Iterator[None]:
    before = {name: spark.conf.get(name) for name in wanted}
    for name, value in wanted.items():
        spark.conf.set(name, value)
    yield
    for name, value in before.items():
        spark.conf.set(name, value)
