"""silver.events of a store in which dear carts are bought more often, and nothing else says anything."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from lakehouse.values import frame_of_table
from tests.silver_of_store import as_silver

_DAY_US = 86_400_000_000
_MINUTES_US = 300_000_000


def cart_events(spark: SparkSession, count: int, days: float, seed: int) -> DataFrame:
    """Rows of silver.events: so many carts, evenly over so many days, most of customers who come once. What is bought
    is bought five minutes later.
    """
    rng = np.random.default_rng(seed)
    at_us = (np.arange(count) * (days * _DAY_US / count)).astype(np.int64)
    log_price = rng.normal(1.5, 1.0, count)
    bought = np.flatnonzero(rng.random(count) < 1 / (1 + np.exp(1.0 - 1.8 * (log_price - 1.5))))
    place = np.concatenate([np.arange(count), bought])
    is_cart = np.arange(len(place)) < count
    session = np.array([f"s{number}" for number in range(count)])
    rows = pa.table(
        {
            "event_id": [f"{number:032x}" for number in range(len(place))],
            "at_us": at_us[place] + np.where(is_cart, 0, _MINUTES_US),
            "event_type": np.where(is_cart, "cart", "purchase"),
            "user_id": 500_000_000 + rng.integers(0, 3 * count, count)[place],
            "user_session": session[place],
            "product_id": rng.integers(1, 40, count)[place],
            "category_id": np.full(len(place), 5),
            "cents": np.maximum(np.exp(log_price) * 100, 1).astype(np.int64)[place],
        }
    )
    return as_silver(frame_of_table(spark, rows))
