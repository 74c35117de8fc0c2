"""Which event a record tells of: a hash of what it says (docs/decisions/0001-event-identity.md)."""

from __future__ import annotations

from functools import cache

from pyspark.sql import Column
from pyspark.sql import functions as F

NULL_MARK = "-"


@cache
def content_hash() -> Column:
    """128 bits in hex, over the nine normalised columns of an event.

    Each value is written as `<length in bytes>:<UTF-8 text>` and a null as `-`, so that no two different events have
    one form, and null differs from empty. Microseconds since 1970 in UTC, integers in base 10, money with two decimals.
    The hash is the first half of SHA-256.
    """
    values = [
        F.unix_micros("event_at").cast("string"),
        F.col("event_type"),
        F.col("product_id").cast("string"),
        F.col("category_id").cast("string"),
        F.col("category_code"),
        F.col("brand"),
        F.col("price").cast("string"),
        F.col("user_id").cast("string"),
        F.col("user_session"),
    ]
    return F.left(F.sha2(F.concat(*map(_prefixed, values)), 256), F.lit(32))


def _prefixed(text: Column) -> Column:
    return F.coalesce(F.concat(F.octet_length(text).cast("string"), F.lit(":"), text), F.lit(NULL_MARK))
