"""What a record says: an event, or the reasons why it is none."""

from __future__ import annotations

from collections.abc import Mapping

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.settings import Settings
from silver.identity import content_hash
from silver.records import with_fields, with_values
from silver.rejects import reasons
from silver.rows import is_event

EVENT = (
    "event_id",
    "content_id",
    "event_at",
    "event_type",
    "product_id",
    "category_id",
    "category_code",
    "brand",
    "price",
    "user_id",
    "user_session",
    "extras",
)


def read_records(records: DataFrame, settings: Settings, schemas: Mapping[int, str] | None = None) -> DataFrame:
    """Records as events or as refused.

    In: bronze rows. Out: one row per record: its columns, those of an event, and `reasons`, empty for an event; then
    `event_id` is set, and event_at, event_type, product_id, price and user_id are not null. `content_id` is the hash of
    what the record says, where the producer's own id, another than this hash, is its event_id.

    :param schemas: those that Avro records may be read by, by their id in the registry; None: there are none.
    """
    in_fields = with_fields(records, settings, schemas or {})
    with_reasons = with_values(in_fields, settings).withColumn("reasons", reasons(settings))
    with_hash = with_reasons.withColumn("content_hash", F.when(is_event(), content_hash()))
    own_id = F.when(is_event() & (F.col("own_id") != F.col("content_hash")), F.col("own_id"))
    ids = {
        "event_id": F.coalesce(own_id, F.col("content_hash")),
        "content_id": F.when(own_id.isNotNull(), F.col("content_hash")),
    }
    return with_hash.withColumns(ids).select(*records.columns, *EVENT, "reasons")
