"""The schemas that Avro records were written with, from bronze.schemas: bronze is read without the registry."""

from __future__ import annotations

from collections.abc import Collection

from pyspark.sql import SparkSession

from lakehouse import commits
from lakehouse.settings import Settings
from lakehouse.tables import BRONZE_SCHEMAS


class WriterSchemas:
    """The schemas that somebody has asked for, of those in the table: as long as no Avro comes, none.

    :param by_id: schema id -> schema in JSON.
    """

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._spark, self._settings = spark, settings
        self._version, self._stored = -1, dict[int, str]()
        self.by_id: dict[int, str] = {}

    def take(self, ids: Collection[int]) -> bool:
        """Puts those of these ids that are in the table into `by_id`. Out: are there any?"""
        version = commits.current_version(self._spark, BRONZE_SCHEMAS, self._settings)
        if version > self._version:
            rows = commits.read_table(self._spark, BRONZE_SCHEMAS, self._settings, version).toArrow()
            self._stored = dict(zip(rows["schema_id"].to_pylist(), rows["schema"].to_pylist(), strict=True))
            self._version = version
        found = {schema_id: self._stored[schema_id] for schema_id in ids if schema_id in self._stored}
        self.by_id |= found
        return bool(found)
