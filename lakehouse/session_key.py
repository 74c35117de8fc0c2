"""The key of a session, in Python and in Spark: 128 bits in hex, of its user and its id, or without an id its start."""

from __future__ import annotations

import hashlib

from pyspark.sql import Column
from pyspark.sql import functions as F

_HEX_DIGITS = 32
_BY_ID, _BY_START = "session", "start"


def session_key(user_id: int, session_id: str, started_us: int) -> str:
    """The id, which may have any characters, is last, and no id (empty) is unlike any."""
    named = (_BY_ID, session_id) if session_id else (_BY_START, str(started_us))
    return hashlib.sha256("|".join((str(user_id), *named)).encode()).hexdigest()[:_HEX_DIGITS]


def session_key_column(started_us: Column) -> Column:
    """The same of rows with `user_id` and `user_session`, which is null where there is no id."""
    session_id = F.col("user_session")
    kind = F.when(session_id.isNull(), F.lit(_BY_START)).otherwise(F.lit(_BY_ID))
    named = F.concat_ws("|", F.col("user_id").cast("string"), kind, F.coalesce(session_id, started_us.cast("string")))
    return F.left(F.sha2(named, 256), F.lit(_HEX_DIGITS))
