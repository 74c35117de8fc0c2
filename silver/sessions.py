"""silver.sessions from silver.events: as a stream with state, and of all events at once. Both go by `session_rules`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain, islice
from typing import Any

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.streaming.stateful_processor import (
    ExpiredTimerInfo,
    StatefulProcessor,
    StatefulProcessorHandle,
    TimerValues,
)
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    LongType,
    StringType,
    StructField,
    StructType,
)

from lakehouse.schemas import AMOUNT, PRICE
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_SESSIONS
from silver.session_rules import (
    Event,
    Rules,
    State,
    advance,
    expires_us,
    from_text,
    still_held,
    to_text,
    visits_of,
)

OF_ONE = ("user_id", "session")
"""What state is kept by: a user's session; all of a user's events without one."""

INPUT = (*OF_ONE, *Event._fields)
"""What the rules are told of an event."""

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
_BRANDS = ArrayType(
    StructType(
        [
            StructField("brand", StringType()),
            StructField("viewed", BooleanType()),
            StructField("carted", BooleanType()),
            StructField("bought", BooleanType()),
        ]
    )
)
TOLD = StructType(
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
        StructField("brands", _BRANDS),
        StructField("added", LongType()),
        StructField("replaces", ArrayType(StringType())),
    ]
)
"""Rows as the rules make them: money in cents, times in microseconds since 1970."""


def rules_of(settings: Settings) -> Rules:
    seconds = (settings.session_gap_s, settings.cart_abandon_s, settings.session_hold_s)
    return Rules(*(each * 1_000_000 for each in seconds))


def told_events(events: DataFrame) -> DataFrame:
    """In: rows of silver.events. Out: INPUT of each, and its event_at for the watermark."""
    return events.select(
        "user_id",
        F.coalesce("user_session", F.lit("")).alias("session"),
        F.unix_micros("event_at").alias("at_us"),
        "event_id",
        F.col("event_type").alias("kind"),
        "product_id",
        (F.col("price") * 100).cast("bigint").alias("price_cents"),
        F.coalesce("brand", F.lit("")).alias("brand"),
        "event_at",
    )


def stream_is_told() -> Column:
    """Of which rows of silver.events is the stream told? A view of a visit with a session changes no cart, and what it
    adds to the row needs no order: it is added without the stream, whose price is by the visit.
    """
    return (F.col("event_type") != "view") | F.col("user_session").isNull()


def session_stream(events: DataFrame, held: DataFrame, settings: Settings) -> DataFrame:
    """The visits whose carts each micro-batch changes, as TOLD, of the events that `stream_is_told`.

    Events behind the watermark are dropped here, and visits that are held no longer begin anew: `silver.visits` sees
    both, and takes them another way.

    :param events: a stream of rows of silver.events.
    :param held: the visits that are held at the start: OF_ONE and `state`.
    """
    keyed = (
        told_events(events.where(stream_is_told()))
        .withWatermark("event_at", f"{settings.late_s} seconds")
        .groupBy(*OF_ONE)
    )
    visits = VisitProcessor(rules_of(settings))
    return keyed.transformWithState(visits, TOLD, "Update", "EventTime", held.groupBy(*OF_ONE))


def told_sessions(events: DataFrame, settings: Settings, partitions: int = 1) -> DataFrame:
    """In: rows of silver.events, *all* of every visit. Out: one row per visit, as TOLD."""
    ordered = told_events(events).select(*INPUT).repartition(partitions, *OF_ONE).sortWithinPartitions(*OF_ONE)
    return ordered.mapInArrow(partial(_in_batches, rules_of(settings)), TOLD)


def session_facts(told: DataFrame) -> DataFrame:
    """In: TOLD. Out: one row per visit, the facts of silver.sessions."""
    return told.select(
        "session_key",
        F.to_date(_time("started_us")).alias("started_on"),
        "user_id",
        "user_session",
        _time("started_us").alias("started_at"),
        _time("ended_us").alias("ended_at"),
        *("events", "views", "carts", "removes", "purchases"),
        _money("revenue_cents").alias("revenue"),
        _items("cart").alias("cart"),
        _money("cart_cents").alias("cart_value"),
        _time("last_cart_change_us").alias("last_cart_change_at"),
        "earlier_abandonments",
        _time("earlier_abandoned_us").alias("earlier_abandoned_at"),
        _items("earlier_cart").alias("earlier_cart"),
        _money("earlier_cart_cents").alias("earlier_cart_value"),
        "brands",
    ).select(*SILVER_SESSIONS.facts)


def with_views(seen: DataFrame, told: DataFrame, known: DataFrame) -> DataFrame:
    """In: what a batch has of visits with a session: `user_id`, `user_session`, `first_us`, `last_us`, `new_views`,
    `viewed_brands`, one row each; of those among them of which the stream was told its rows, as TOLD; their rows of
    silver.sessions. Out: one row per visit of `seen`, the facts of silver.sessions.
    """
    one = ["user_id", "user_session"]
    cart = ["cart", "cart_value", "last_cart_change_at", "earlier_abandonments", "earlier_abandoned_at"]
    cart += ["earlier_cart", "earlier_cart_value", "carts", "removes", "purchases", "revenue"]
    changed = session_facts(told).select(*one, F.struct(*cart, "brands").alias("changed"))
    before = known.select(*one, F.struct(*cart, "views", "started_at", "ended_at", "brands").alias("before"))
    parts = seen.join(changed, one, how="left").join(before, one, how="left")
    kinds = {name: SILVER_SESSIONS.schema[name].dataType for name in cart}
    empty = {name: F.array() if isinstance(kind, ArrayType) else F.lit(0) for name, kind in kinds.items()}
    empty |= dict.fromkeys(("last_cart_change_at", "earlier_abandoned_at"), F.lit(None))
    carts = {
        name: F.when(F.col("changed").isNotNull(), F.col(f"changed.{name}"))
        .when(F.col("before").isNotNull(), F.col(f"before.{name}"))
        .otherwise(empty[name].cast(kind))
        .alias(name)
        for name, kind in kinds.items()
    }
    started_at = F.least(_time("first_us"), "before.started_at")
    views = F.coalesce("before.views", F.lit(0)) + F.col("new_views")
    viewed = F.transform("viewed_brands", lambda brand: _brand(brand, F.lit(True), F.lit(False), F.lit(False)))
    named = F.concat_ws("|", F.col("user_id").cast("string"), F.lit("session"), "user_session")
    rows = parts.select(
        F.left(F.sha2(named, 256), F.lit(32)).alias("session_key"),  # `session_rules.session_key`
        F.to_date(started_at).alias("started_on"),
        *one,
        started_at.alias("started_at"),
        F.greatest(_time("last_us"), "before.ended_at").alias("ended_at"),
        views.alias("views"),
        *carts.values(),
        _joined_brands(viewed, F.col("changed.brands"), F.col("before.brands")).alias("brands"),
    )
    events = F.col("views") + F.col("carts") + F.col("removes") + F.col("purchases")
    return rows.withColumn("events", events).select(*SILVER_SESSIONS.facts)


def _joined_brands(*lists: Column) -> Column:
    """The steps of all lists by brand, sorted."""
    every = F.concat(*(F.coalesce(each, F.array().cast(_BRANDS)) for each in lists))

    def joined(brand: Column) -> Column:
        def any_(step: str) -> Column:
            return F.exists(every, lambda each: (each["brand"] == brand) & each[step])

        return _brand(brand, any_("viewed"), any_("carted"), any_("bought"))

    return F.transform(F.array_sort(F.array_distinct(F.transform(every, lambda each: each["brand"]))), joined)


def _brand(brand: Column, viewed: Column, carted: Column, bought: Column) -> Column:
    return F.struct(brand.alias("brand"), viewed.alias("viewed"), carted.alias("carted"), bought.alias("bought"))


def sessions(events: DataFrame, settings: Settings) -> DataFrame:
    """In: all of silver.events. Out: one row per session, the facts of silver.sessions."""
    cores = events.sparkSession.sparkContext.defaultParallelism
    return session_facts(told_sessions(events, settings, 4 * cores))


def held_states(spark: SparkSession, keyed: list[tuple[Any, ...]], rules: Rules) -> DataFrame:
    """In: (user_id, session, *Event) of the events of visits that are to be held. Out: their states, for a stream."""
    by_one: dict[tuple[int, str], list[Event]] = {}
    for user_id, session, *event in keyed:
        by_one.setdefault((user_id, session), []).append(Event(*event))
    states = [(*one, to_text(advance(*one, (), events, rules)[0])) for one, events in by_one.items()]
    columns = zip(*states, strict=True) if states else ((), (), ())
    kinds = (pa.int64(), pa.string(), pa.string())
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    return spark.createDataFrame(pa.table(arrays, names=[*OF_ONE, "state"]))


class VisitProcessor(StatefulProcessor):
    """The rules, with a state store for the state and a timer that clears it."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def init(self, handle: StatefulProcessorHandle) -> None:
        self._handle = handle
        self._held = handle.getValueState("visits", "state string")

    def handleInputRows(self, key: Any, rows: Iterator[Row], timerValues: TimerValues) -> Iterator[Row]:
        user_id, session = key
        held = self._held.get()
        state = from_text(held[0]) if held else ()
        events = [Event(*(row[name] for name in Event._fields)) for row in rows]
        state, changed = advance(user_id, session, state, events, self._rules)
        self._held.update((to_text(state),))
        if held is None:
            self._set_timer(state)
        for row in changed:
            yield Row(**row)

    def handleInitialState(self, key: Any, initialState: Row, timerValues: TimerValues) -> None:
        self._held.update((initialState["state"],))
        self._set_timer(from_text(initialState["state"]))

    def handleExpiredTimer(
        self,
        key: Any,
        timerValues: TimerValues,
        expiredTimerInfo: ExpiredTimerInfo,
    ) -> Iterator[Row]:
        """Lets go of visits without events for long. Of one that goes on the timer is set anew, not at each event."""
        held = self._held.get()
        if held is not None:
            state = still_held(from_text(held[0]), timerValues.getCurrentWatermarkInMs() * 1000, self._rules)
            if state:
                self._held.update((to_text(state),))
                self._set_timer(state)
            else:
                self._held.clear()
        return iter(())

    def close(self) -> None:
        pass

    def _set_timer(self, state: State) -> None:
        # A millisecond later, for the time is rounded down.
        self._handle.registerTimer(min(expires_us(visit, self._rules) for visit in state) // 1000 + 1)


def _in_batches(rules: Rules, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    schema = to_arrow_schema(TOLD)
    keyed = chain.from_iterable(
        zip(*(batch.column(name).to_pylist() for name in INPUT), strict=True) for batch in batches
    )
    rows = visits_of(keyed, rules)
    while lot := list(islice(rows, _LOT)):
        yield pa.RecordBatch.from_pylist([_as_plain(row) for row in lot], schema=schema)


def _as_plain(row: dict[str, Any]) -> dict[str, Any]:
    """Arrow wants dictionaries where the rules have tuples."""
    carts = {name: [item._asdict() for item in row[name]] for name in ("cart", "earlier_cart")}
    names = _BRANDS.elementType.fieldNames()  # type: ignore[attr-defined]
    return row | carts | {"brands": [dict(zip(names, brand, strict=True)) for brand in row["brands"]]}


def _time(name: str) -> Column:
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
