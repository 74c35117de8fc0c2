"""Event rows as numbers: one numpy record each, made text only when they are written."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lakehouse.event_contract import EVENT_TYPES

Rows = npt.NDArray[np.void]

VIEW, CART, REMOVE, PURCHASE = range(len(EVENT_TYPES))

# at_ms: since 1970, UTC. product: index into the catalogue. high, low: the session; both 0 is none.
ROW = np.dtype(
    [
        ("at_ms", np.int64),
        ("product", np.int32),
        ("type", np.uint8),
        ("refund", np.bool_),
        ("user_id", np.int64),
        ("high", np.uint64),
        ("low", np.uint64),
    ]
)


def no_rows() -> Rows:
    return np.empty(0, ROW)
