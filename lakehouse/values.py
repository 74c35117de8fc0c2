"""Values of the driver -> DataFrame, through Arrow: a list of tuples would go through a Python worker process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType


def frame_of_rows(spark: SparkSession, rows: Sequence[Mapping[str, Any]], schema: StructType) -> DataFrame:
    """Rows with the columns of the schema. Out: one row each, in one partition, so that grouping needs no shuffle."""
    return frame_of_table(spark, pa.Table.from_pylist(list(rows), schema=to_arrow_schema(schema, timezone="UTC")))


def frame_of_columns(spark: SparkSession, columns: Mapping[str, tuple[pa.DataType, Sequence[Any]]]) -> DataFrame:
    """Columns of equal length, by name, each as its type and values. Out: one row per place, in one partition."""
    return frame_of_table(spark, pa.table({name: pa.array(values, kind) for name, (kind, values) in columns.items()}))


def frame_of_table(spark: SparkSession, table: pa.Table) -> DataFrame:
    return spark.createDataFrame(table).coalesce(1)
