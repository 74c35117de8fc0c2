"""Open carts as the purchase-intent model takes them: features, and what became of each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd

from ml.purchase_intent.columns import FEATURES

NOON = datetime(2019, 10, 1, 12, tzinfo=UTC)
HORIZON = timedelta(days=1)


def carts(count: int, seed: int = 1, users: int | None = None) -> pd.DataFrame:
    """A cart an hour. Dear carts of customers who have bought before are bought more often; the rest says nothing."""
    rng = np.random.default_rng(seed)
    rows = pd.DataFrame({name: rng.poisson(2.0, count).astype(float) for name in FEATURES})
    rows["hour"], rows["weekday"] = rng.integers(0, 24, count), rng.integers(0, 7, count)
    rows["product_rate"] = rng.uniform(0.05, 0.2, count)
    price = rng.lognormal(1.5, 1.0, count)
    rows["price"] = [Decimal(f"{each:.2f}") for each in price]
    rows["user_revenue"] = [Decimal(f"{each:.2f}") for each in rng.lognormal(3.0, 1.0, count)]
    rows["last_order_days"] = np.where(rng.random(count) < 0.7, np.nan, rng.exponential(9.0, count))
    odds = 0.8 * (np.log(price) - 1.5) + 1.0 * (rows["user_orders"] - 2) - 0.5
    rows["bought"] = pd.Series(rng.random(count) < 1 / (1 + np.exp(-odds)), dtype=object)
    rows["event_id"] = [f"{number:06}" for number in range(count)]
    rows["user_id"] = rng.integers(0, users or count // 2, count)
    rows["cut_off_at"] = [NOON + timedelta(hours=number) for number in range(count)]
    rows["outcome_at"] = rows["cut_off_at"] + HORIZON
    return rows
