"""silver.sessions from all of silver.events at once, by `session_rules`; and what these take and make, in Spark."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain, islice
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import ArrayType, BooleanType, LongType, StringType, StructField, StructType

from lakehouse.commits import Note
from lakehouse.errors import SettingError
from lakehouse.schemas import AMOUNT, PRICE
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_SESSIONS
from silver.session_rules import Event, Rules, session_rows

KEY = ("user_id", "session_id")
"""What the rules keep a state by: a user's session; all of a user's events without a session id, where it is empty."""

RULE_INPUT = (*KEY, *Event._fields)
"""What the rules take of an event."""

_LOT = 5000

_CART = ArrayType(
    StructType(
        [
            StructField("product_id", LongType()),
            StructField("quantity", LongType()),
            StructField("price_cents", LongType()),
        ]
    )
)
BRANDS = ArrayType(
    StructType(
        [
            StructField("brand", StringType()),
            StructField("viewed", BooleanType()),
            StructField("carted", BooleanType()),
            StructField("bought", BooleanType()),
        ]
    )
)
RULE_ROWS = StructType(
    [
        StructField("session_key", StringType()),
        StructField("user_id", LongType()),
        StructField("user_session", StringType()),
        *(StructField(name, LongType()) for name in ("started_us", "ended_us", "events", "views", "carts", "removes")),
        *(StructField(name, LongType()) for name in ("purchases", "revenue_cents")),
        StructField("cart", _CART),
        *(StructField(name, LongType()) for name in ("cart_cents", "last_cart_change_us", "earlier_abandonments")),
        StructField("earlier_abandoned_us", LongType()),
        StructField("earlier_cart", _CART),
        StructField("earlier_cart_cents", LongType()),
        StructField("brands", BRANDS),
        StructField("added", LongType()),
        StructField("replaces", ArrayType(StringType())),
    ]
)
"""The rows that the rules make: money in cents, times in microseconds since 1970."""


def rules_of(settings: Settings) -> Rules:
    seconds = (settings.session_gap_s, settings.cart_abandon_s, settings.session_hold_s)
    return Rules(*(each * 1_000_000 for each in seconds))


def rules_in(settings: Settings) -> dict[str, int]:
    """The settings that the rows are made by, for the note of a commit."""
    return {name: getattr(settings, name) for name in ("session_gap_s", "cart_abandon_s")}


def refuse_other_rules(note: Note, settings: Settings) -> None:
    """Rows by two rules in one table would be neither.

    :param note: of the newest commit of silver.sessions. :raises SettingError: it was made with other rules.
    """
    made_with = note.get("rules", rules_in(settings))
    for name, value in rules_in(settings).items():
        if made_with[name] != value:
            raise SettingError(
                f"The setting {name} is {value}, but {SILVER_SESSIONS.name} was made with {made_with[name]}.",
                "the rules that the table was made with",
                f"set LAKEHOUSE_{name.upper()}={made_with[name]}, or run `lakehouse rebuild gold` with the new one",
            )


def rule_input(events: DataFrame) -> DataFrame:
    """In: rows of silver.events. Out: RULE_INPUT of each, and its event_at for the watermark."""
    return events.select(
        "user_id",
        F.coalesce("user_session", F.lit("")).alias("session_id"),
        F.unix_micros("event_at").alias("at_us"),
        "event_id",
        F.col("event_type").alias("kind"),
        "product_id",
        (F.col("price") * 100).cast("bigint").alias("price_cents"),
        F.coalesce("brand", F.lit("")).alias("brand"),
        "event_at",
    )


def sessions(events: DataFrame, settings: Settings) -> DataFrame:
    """In: all of silver.events. Out: one row per session, the facts of silver.sessions."""
    cores = events.sparkSession.sparkContext.defaultParallelism
    return session_facts(computed_sessions(events, settings, 4 * cores))


def computed_sessions(events: DataFrame, settings: Settings, partitions: int = 1) -> DataFrame:
    """In: rows of silver.events, *all* of every session. Out: one row per session, as RULE_ROWS."""
    ordered = rule_input(events).select(*RULE_INPUT).repartition(partitions, *KEY).sortWithinPartitions(*KEY)
    return ordered.mapInArrow(partial(_in_batches, rules_of(settings)), RULE_ROWS)


def session_facts(rows: DataFrame) -> DataFrame:
    """In: RULE_ROWS. Out: one row per session, the facts of silver.sessions."""
    return rows.select(
        "session_key",
        F.to_date(as_time("started_us")).alias("started_on"),
        "user_id",
        "user_session",
        as_time("started_us").alias("started_at"),
        as_time("ended_us").alias("ended_at"),
        *("events", "views", "carts", "removes", "purchases"),
        _money("revenue_cents").alias("revenue"),
        _items("cart").alias("cart"),
        _money("cart_cents").alias("cart_value"),
        as_time("last_cart_change_us").alias("last_cart_change_at"),
        "earlier_abandonments",
        as_time("earlier_abandoned_us").alias("earlier_abandoned_at"),
        _items("earlier_cart").alias("earlier_cart"),
        _money("earlier_cart_cents").alias("earlier_cart_value"),
        "brands",
    ).select(*SILVER_SESSIONS.facts)


def as_time(name: str) -> Column:
    return F.timestamp_micros(F.col(name))


def _money(name: str) -> Column:
    return (F.col(name).cast("decimal(20,0)") / F.lit(100)).cast(AMOUNT)


def _items(name: str) -> Column:
    def item(each: Column) -> Column:
        price = (each["price_cents"].cast("decimal(12,0)") / F.lit(100)).cast(PRICE)
        return F.struct(
            each["product_id"].alias("product_id"), each["quantity"].alias("quantity"), price.alias("price")
        )

    return F.transform(name, item)


def _in_batches(rules: Rules, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    schema = to_arrow_schema(RULE_ROWS)
    keyed = chain.from_iterable(
        zip(*(batch.column(name).to_pylist() for name in RULE_INPUT), strict=True) for batch in batches
    )
    rows = session_rows(keyed, rules)
    while lot := list(islice(rows, _LOT)):
        yield pa.RecordBatch.from_pylist([_as_plain(row) for row in lot], schema=schema)


def _as_plain(row: dict[str, Any]) -> dict[str, Any]:
    """Arrow wants dictionaries where the rules have tuples."""
    carts = {name: [item._asdict() for item in row[name]] for name in ("cart", "earlier_cart")}
    names = BRANDS.elementType.fieldNames()  # type: ignore[attr-defined]
    return row | carts | {"brands": [dict(zip(names, brand, strict=True)) for brand in row["brands"]]}
