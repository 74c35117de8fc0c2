"""How many of a day's customers looked, put into the cart and bought, per brand and in the whole store."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.tables import GOLD_BRAND_VISITS, GOLD_FUNNEL

_STEPS = ("viewed", "carted", "bought")
_WHO = ("event_on", "brand", "user_id")


def glimpses(events: DataFrame) -> DataFrame:
    """In: rows of silver.events. Out: what each says of its customer and brand that day."""
    steps = {
        "viewed": F.col("event_type") == "view",
        "carted": F.col("event_type") == "cart",
        "bought": (F.col("event_type") == "purchase") & (F.col("price") > 0),
    }
    # Text in silver is never empty: an empty brand is no brand, and a key without nulls.
    return events.withColumns({"brand": F.coalesce("brand", F.lit("")), **steps}).select(*GOLD_BRAND_VISITS.facts)


def glimpses_of(visits: DataFrame) -> DataFrame:
    """In: rows of gold.brand_visits. Out: the glimpses that they sum up."""
    return visits.select(*GOLD_BRAND_VISITS.facts)


def brand_visits(seen: DataFrame) -> DataFrame:
    """In: glimpses. Out: one row per day, brand and customer, the facts of gold.brand_visits."""
    done = [F.bool_or(step).alias(step) for step in _STEPS]
    return seen.groupBy(*_WHO).agg(*done).select(*GOLD_BRAND_VISITS.facts)


def funnel(visits: DataFrame) -> DataFrame:
    """In: all gold.brand_visits of each day. Out: one row per day and brand, and one per day: the facts of gold.funnel.

    Customers of two brands are one visitor of the day: the day's numbers are counted, not added up.
    """
    by_brand = visits.withColumn("scope", F.lit("brand"))
    of_the_day = brand_visits(visits.withColumn("brand", F.lit(""))).withColumn("scope", F.lit("day"))
    counts = [F.count_if(step).alias(step) for step in _STEPS]
    return (
        by_brand.select("scope", *_WHO, *_STEPS)
        .unionByName(of_the_day.select("scope", *_WHO, *_STEPS))
        .groupBy("event_on", "scope", "brand")
        .agg(F.count("*").alias("visitors"), *counts)
        .withColumn("conversion", F.col("bought") / F.col("visitors"))
        .select(*GOLD_FUNNEL.facts)
    )
