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
_DENIED_FOR_S, _SAY_EVERY_S = 60.0, 60.0
_MOST_ASKED, _MOST_DENIED = 20, 10_000
"""Ids that a batch asks for, and denials that are remembered: any four bytes behind a zero byte are an id."""

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
        self._denied_until_s: dict[int, float] = {}  # the newest last
        self._refused: set[int] = set()  # and not said yet
        self._said_s = -_SAY_EVERY_S

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

    def find(self, ids: Collection[int], most: int = _MOST_ASKED) -> dict[int, KnownSchema]:
        """The schemas of those of these ids that are not stored and that the registry knows, by id.

        An id that it denies is not asked for again for a minute. Of many the lowest go first, which are those that a
        registry gives, before all that it has denied once; the others are asked for with a later batch that has them.

        :param most: that it is asked for.
        :raises ServiceError: the registry cannot be asked.
        """
        self._stored.take(ids)
        if self._registry is None:
            return {}
        found: dict[int, KnownSchema] = {}
        now_s, denied_until_s = time.monotonic(), self._denied_until_s
        new = [each for each in ids if each not in self._stored.by_id and denied_until_s.get(each, 0.0) <= now_s]
        new.sort(key=lambda schema_id: (schema_id in denied_until_s, schema_id))
        for schema_id in new[:most]:
            schema = self._registry.schema(schema_id)
            if schema is None:
                denied_until_s.pop(schema_id, None)
                denied_until_s[schema_id] = now_s + _DENIED_FOR_S
                self._refused.add(schema_id)
            else:
                found[schema_id] = schema
        while len(denied_until_s) > _MOST_DENIED:
            del denied_until_s[next(iter(denied_until_s))]
        self._say_refused(len(new) - most, now_s)
        return found

    def _say_refused(self, left: int, now_s: float) -> None:
        """One line a minute, whatever comes."""
        if not self._refused or now_s - self._said_s < _SAY_EVERY_S:
            return
        denied = ", ".join(map(str, sorted(self._refused)[:5])) + (", ..." if len(self._refused) > 5 else "")
        log.warning(
            "bronze: the schema registry knows no schema %s (%d ids, %d more were not asked for yet); their records are"
            " refused",
            denied,
            len(self._refused),
            max(0, left),
        )
        self._refused.clear()
        self._said_s = now_s

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
