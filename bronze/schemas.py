"""The schemas of the Avro records that come, kept in bronze.schemas before the records are read."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from datetime import UTC, datetime

from pyspark.sql import SparkSession

from lakehouse import commits
from lakehouse.errors import ServiceError
from lakehouse.registry import KnownSchema, Registry
from lakehouse.settings import Settings
from lakehouse.streams import Stop, StoppedError
from lakehouse.tables import BRONZE_SCHEMAS
from lakehouse.values import frame_of_rows
from lakehouse.writer_schemas import WriterSchemas

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0
_DENIED_FOR_S = 60.0

Waiting = Callable[[str], None]
"""Is told why it is waited, each time that the registry could not be asked."""

log = logging.getLogger("lakehouse")


class SeenSchemas:
    """Asks the registry for what is not in bronze.schemas yet. Without a registry it knows nothing new.

    :raises SettingError: the registry's address cannot be used.
    :raises MissingExtraError: the extra `avro` is not installed.
    """

    def __init__(self, spark: SparkSession, settings: Settings) -> None:
        self._spark, self._settings = spark, settings
        self._registry = Registry(settings) if settings.registry_url else None
        self._stored = WriterSchemas(spark, settings)
        self._denied_until_s: dict[int, float] = {}

    def keep(self, ids: Collection[int], stop: Stop, waiting: Waiting = lambda reason: None) -> bool:
        """Stores the schemas of these ids that are not stored yet. Waits as long as the registry cannot be asked. Out:
        has any been stored?

        :raises StoppedError: told to stop while it waited.
        """
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                found = self.find(ids)
                break
            except ServiceError as error:
                log.warning("bronze: waiting for the schema registry: %s", error.found)
                waiting(error.found)
                if stop.wait(pause_s):
                    raise StoppedError from None
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        self.store(found, datetime.now(UTC))
        return bool(found)

    def find(self, ids: Collection[int]) -> dict[int, KnownSchema]:
        """The schemas of those of these ids that are not stored and that the registry knows, by id.

        An id that it denies is not asked for again for a minute.

        :raises ServiceError: the registry cannot be asked.
        """
        self._stored.take(ids)
        found: dict[int, KnownSchema] = {}
        now_s = time.monotonic()
        for schema_id in sorted(ids):
            is_denied = self._denied_until_s.get(schema_id, 0.0) > now_s
            if self._registry is None or schema_id in self._stored.by_id or is_denied:
                continue
            schema = self._registry.schema(schema_id)
            if schema is None:
                self._denied_until_s[schema_id] = now_s + _DENIED_FOR_S
                log.warning("bronze: the schema registry knows no schema %d; its records are refused", schema_id)
            else:
                found[schema_id] = schema
        return found

    def store(self, found: dict[int, KnownSchema], seen_at: datetime) -> None:
        """One row each, in one commit; of none, nothing."""
        if not found:
            return
        commits.create_tables(self._spark, (BRONZE_SCHEMAS,), self._settings)
        rows = [
            {"schema_id": schema_id, "schema": each.text, "subjects": list(each.subjects), "seen_at": seen_at}
            for schema_id, each in found.items()
        ]
        commits.append(frame_of_rows(self._spark, rows, BRONZE_SCHEMAS.schema), BRONZE_SCHEMAS, self._settings, {})
        log.info("bronze: new schemas: %s", ", ".join(map(str, found)))
