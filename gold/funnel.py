"""In how many of a day's sessions customers looked, put into the cart and bought, per brand and in the whole store."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.tables import GOLD_FUNNEL

_STEPS = ("viewed", "carted", "bought")


def steps(sessions: DataFrame) -> DataFrame:
    """In: rows of silver.sessions. Out: the steps taken in each, a row per session and brand, and one for the store."""
    by_brand = sessions.select("started_on", "user_id", "session_key", F.inline("brands"))
    in_all = by_brand.groupBy("started_on", "user_id", "session_key").agg(
        *(F.bool_or(step).alias(step) for step in _STEPS)
    )
    columns = ("event_on", "scope", "brand", "user_id", *_STEPS)
    of_brands = by_brand.withColumns({"event_on": F.col("started_on"), "scope": F.lit("brand")}).select(*columns)
    of_days = in_all.withColumns({"event_on": F.col("started_on"), "scope": F.lit("day"), "brand": F.lit("")})
    return of_brands.unionByName(of_days.select(*columns))


def funnel(taken: DataFrame) -> DataFrame:
    """In: the steps of all sessions of each day. Out: one row per day and brand, and one per day: facts of gold.funnel.

    A session of two brands is one session of the day: the day's numbers are counted, not added up.
    """
    counts = [F.count_if(step).alias(step) for step in _STEPS]
    return (
        taken.groupBy("event_on", "scope", "brand")
        .agg(F.count_distinct("user_id").alias("visitors"), F.count("*").alias("sessions"), *counts)
        .withColumn("conversion", F.col("bought") / F.col("sessions"))
        .select(*GOLD_FUNNEL.facts)
    )
