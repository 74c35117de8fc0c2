"""How each table of gold beyond product_sales follows from its source: the one list that rounds and rebuilds go by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from gold.customer_value import customer_value, spendings, spendings_of, taken_back
from gold.funnel import funnel, steps
from gold.orders import lines_of, order_lines, orders
from gold.product_sales import product_sales
from gold.products import products, sightings, sightings_of
from lakehouse.tables import (
    GOLD_CUSTOMER_VALUE,
    GOLD_FUNNEL,
    GOLD_ORDERS,
    GOLD_PRODUCT_SALES_DAILY,
    GOLD_PRODUCT_SALES_HOURLY,
    GOLD_PRODUCTS,
    SILVER_EVENTS,
    SILVER_SESSIONS,
    Table,
)

HOUR_S, DAY_S = 3600, 86400

Step = Callable[[DataFrame], DataFrame]


@dataclass(frozen=True)
class Fold:
    """A table as the sum of small pieces, which come in any order.

    :param pieces: rows of the source -> pieces.
    :param facts: pieces -> rows, one per key, without revision.
    :param held: rows of the table -> the pieces that they sum up, to which new ones can be added. None: the rows of a
        day are computed anew from that day of the source.
    :param taken_back: pieces of rows of the source as they were -> what takes them off again, for sums in which a
        piece must not count twice. None: the same piece again changes nothing.
    :param shrinks: a key may come to have no row any more.
    """

    table: Table
    source: Table
    pieces: Step
    facts: Step
    held: Step | None = None
    taken_back: Step | None = None
    shrinks: bool = False

    def whole(self, source: DataFrame) -> DataFrame:
        """All rows of the source -> all facts."""
        return self.facts(self.pieces(source))


def _as_purchases(orders_: DataFrame) -> DataFrame:
    """In: rows of gold.orders. Out: their purchases that are sales or refunds."""
    return lines_of(orders_).where(F.col("price") != 0)


FOLDS = (
    Fold(GOLD_ORDERS, SILVER_EVENTS, order_lines, orders, lines_of),
    Fold(GOLD_CUSTOMER_VALUE, GOLD_ORDERS, spendings, customer_value, spendings_of, taken_back),
    Fold(GOLD_PRODUCT_SALES_HOURLY, GOLD_ORDERS, _as_purchases, lambda sold: product_sales(sold, HOUR_S)),
    Fold(GOLD_PRODUCT_SALES_DAILY, GOLD_ORDERS, _as_purchases, lambda sold: product_sales(sold, DAY_S)),
    Fold(GOLD_PRODUCTS, SILVER_EVENTS, sightings, products, sightings_of),
    Fold(GOLD_FUNNEL, SILVER_SESSIONS, steps, funnel, shrinks=True),
)
"""A source stands before the tables that are made of it."""
