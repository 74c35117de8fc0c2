"""The key of a session is the same in Python and in Spark."""

from __future__ import annotations

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from lakehouse.session_key import session_key, session_key_column

SESSIONS = [
    (463240011, "26dd6e6e-4dac-4778-8d2c-92e149dab885", 0),
    (1, None, 1_569_888_000_000_000),
    (1, None, -5),
    (1, "start|5", 5),
    (11, "|", 5),
    (9_223_372_036_854_775_807, "é한 \U0001f6d2", 5),
]


def test_python_and_spark_make_the_same_key(spark: SparkSession) -> None:
    rows = spark.createDataFrame(SESSIONS, "user_id bigint, user_session string, started_us bigint")
    found = [key for (key,) in rows.select(session_key_column(F.col("started_us"))).collect()]
    assert found == [session_key(user, session_id or "", start_us) for user, session_id, start_us in SESSIONS]
    assert len(set(found)) == len(SESSIONS)
