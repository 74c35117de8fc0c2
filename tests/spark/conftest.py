"""Frames alone: here, unlike in flow, generated code calculates their rows, as in the jobs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession


@pytest.fixture(scope="package", autouse=True)
def _generated_code(spark: SparkSession) -> Iterator[None]:
    names = ("spark.sql.codegen.wholeStage", "spark.sql.codegen.factoryMode")
    for name, value in zip(names, ("true", "FALLBACK"), strict=True):
        spark.conf.set(name, value)
    yield
    for name in names:
        spark.conf.unset(name)
