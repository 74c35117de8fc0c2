"""Do features know more than was known at the cut-off? Shown by computing them again without what came later."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from lakehouse.errors import LakehouseError
from ml.purchase_intent.columns import FEATURES
from ml.purchase_intent.events import place

Features = Callable[[DataFrame], DataFrame]
"""Rows of silver.events -> one row per cart: event_id, cut_off_at and features."""


class LeakError(LakehouseError):
    """A feature changes when events after the cut-off are taken away: it knew them."""


def assert_point_in_time(
    events: DataFrame,
    carts: pd.DataFrame,
    features: Features,
    rng: np.random.Generator,
    cut_offs: int = 6,
    users: int = 200,
    names: Sequence[str] = FEATURES,
) -> None:
    """Checks `features` on a part of the store: all events of so many `users` and no others, a store of their own.

    At each of the cut-offs, all carts of the part that had opened by then are compared. Half of the cut-offs are those
    of carts that were bought: there is much to know after them.

    :param carts: rows of `open_carts`, to choose from. :param names: the features that are checked.
    :raises LeakError: it names the features that change.
    """
    chosen = _chosen(carts, cut_offs, rng)
    others = rng.permutation(carts["user_id"].unique())[:users]
    part = events.where(F.col("user_id").isin([int(user) for user in {*chosen["user_id"], *others}])).persist()
    try:
        changed = point_in_time_violations(part, features, list(chosen["event_id"]), names)
    finally:
        part.unpersist()
    if changed:
        raise LeakError(
            f"Features that know what happens after the cut-off: {', '.join(changed)}.",
            "the same values when later events are taken away",
            "compute them from events up to the cut-off only; a model trained on them is worth nothing",
        )


def point_in_time_violations(
    events: DataFrame, features: Features, cut_offs: Sequence[str], names: Sequence[str] = FEATURES
) -> list[str]:
    """In: rows of silver.events; event_ids of openings among them. Out: the names that have another value for some cart
    that opened by one of these cut-offs when only the events up to it are there; `event_id` if it is the cart itself
    that is there only with later events, or only without.
    """
    whole = _by_cart(features(events), names)
    last = events.where(F.col("event_id").isin(list(cut_offs))).select(place().alias("place")).collect()
    changed: set[str] = set()
    for at_us, rank, event_id in (row.place for row in last):
        upto = F.struct(F.lit(at_us).alias("at_us"), F.lit(rank).alias("rank"), F.lit(event_id).alias("event_id"))
        found = _by_cart(features(events.where(place() <= upto)), names)
        # Of the carts of the same moment those with a greater event_id come later.
        is_before = (whole["cut_off_at"] < whole["cut_off_at"].get(event_id)) | (whole.index == event_id)
        expected = whole[is_before]
        both = expected.index.intersection(found.index)
        if len(both) < len(expected) or not found.index.isin(whole.index).all():
            changed.add("event_id")
        differs = expected.loc[both, list(names)].compare(found.loc[both, list(names)])
        changed |= set(differs.columns.get_level_values(0))
    return [name for name in ("event_id", *names) if name in changed]


def _by_cart(rows: DataFrame, names: Sequence[str]) -> pd.DataFrame:
    carts: pd.DataFrame = rows.select("event_id", "cut_off_at", *names).toPandas()
    return carts.set_index("event_id")


def _chosen(carts: pd.DataFrame, count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Some carts, as many of them bought as not, if there are."""
    mixed = carts.iloc[rng.permutation(len(carts))]
    was_bought = mixed["bought"].eq(True)
    return pd.concat([mixed[was_bought].head(count // 2), mixed[~was_bought].head(count - count // 2)])
