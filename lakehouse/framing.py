"""Avro on Kafka, framed as Confluent's clients do: a zero byte, the id of the writer's schema in four bytes, the value.

No JSON text begins with a zero byte, so that both may follow each other on one topic.
"""

from __future__ import annotations

from pyspark.sql import Column
from pyspark.sql import functions as F

HEADER_BYTES = 5


def is_framed(unreadable_topic: str) -> Column:
    """Is a record of bronze Avro? What the file source could not read is no event in any form, whatever its bytes."""
    begins_so = (F.octet_length("value") > HEADER_BYTES) & (F.substring("value", 1, 1) == F.lit(b"\0"))
    return F.coalesce(begins_so & (F.col("topic") != unreadable_topic), F.lit(False))


def schema_id() -> Column:
    """Of a record that is framed: the id of the schema that it was written with."""
    return F.conv(F.hex(F.substring("value", 2, 4)), 16, 10).cast("bigint")


def avro_value() -> Column:
    """The value of a framed record without its header."""
    return F.substring(F.col("value"), HEADER_BYTES + 1, 2**31 - 1)
