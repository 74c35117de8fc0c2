"""Orders: the purchases of one customer in one session at one moment."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from gold.product_sales import count_and_total
from lakehouse.event_contract import PURCHASE
from lakehouse.schemas import AMOUNT, CUT
from lakehouse.tables import GOLD_ORDERS

_ORDER = ("user_id", "event_at", "user_session")
_LINE = ("event_id", "product_id", "price", "extras")
_LONGEST_EXTRAS = 2000
"""Characters of JSON. An order of a thousand lines must fit into a record of a topic, 8 MiB."""


def order_lines(events: DataFrame) -> DataFrame:
    """In: rows of silver.events. Out: one row per purchase, at whatever price, 0 included. Extras are short."""
    # As text in the order of its names: lines are compared and sorted, which Spark cannot do with maps.
    whole = F.to_json(F.map_from_entries(F.array_sort(F.map_entries("extras"))))
    count = F.concat(F.size("extras").cast("string"), F.lit(" fields, see silver.events"))
    cut = F.to_json(F.create_map(F.lit(CUT), count))
    extras = F.when(F.char_length(whole) > _LONGEST_EXTRAS, cut).otherwise(whole)
    purchases = events.where(F.col("event_type") == PURCHASE).withColumn("extras", extras)
    return purchases.select("event_id", *_ORDER, *_LINE[1:])


def lines_of(orders: DataFrame) -> DataFrame:
    """In: rows of gold.orders. Out: the order lines that they are made of."""
    return orders.select("user_id", F.col("ordered_at").alias("event_at"), "user_session", F.inline("lines"))


def orders(lines: DataFrame) -> DataFrame:
    """In: order lines; all of each order, the same one more than once or not. Out: one row per order, the facts of
    gold.orders. A line at price 0 is in `lines` and counts in no sum.
    """
    is_sale, is_refund = F.col("price") > 0, F.col("price") < 0
    units, revenue = count_and_total(is_sale, F.col("price"))
    refund_units, refund_amount = count_and_total(is_refund, -F.col("price"))
    line = F.struct(*_LINE)
    return (
        lines.dropDuplicates(["event_id"])
        .groupBy(*_ORDER)
        .agg(
            F.array_sort(F.collect_list(line)).alias("lines"),
            units.alias("units"),
            revenue.alias("revenue"),
            refund_units.alias("refund_units"),
            refund_amount.alias("refund_amount"),
        )
        .withColumns(
            {
                "order_id": _order_id(),
                "ordered_at": F.col("event_at"),
                "ordered_on": F.to_date("event_at"),
                "total": (F.col("revenue") - F.col("refund_amount")).cast(AMOUNT),
            }
        )
        .select(*GOLD_ORDERS.facts)
    )


def _order_id() -> Column:
    # The session is last and never empty: no two orders have one text.
    parts = (F.col("user_id"), F.unix_micros("event_at"), F.coalesce("user_session", F.lit("")))
    return F.left(F.sha2(F.concat_ws("|", *parts), 256), F.lit(32))
