"""JSON for browsers, whose numbers are doubles: beyond 2^53 a whole number would become another one."""

from __future__ import annotations

import json
from typing import Any

from lakehouse.wire import plain


def to_json(value: Any) -> str:
    """Ids, whose names end in `_id`, are texts: of all sizes, so that a reader meets one type.

    :raises ValueError: NaN and Infinity are no JSON: a browser would understand nothing of the whole.
    """
    return json.dumps(_with_ids_as_texts(value), default=plain, separators=(",", ":"), allow_nan=False)


def _with_ids_as_texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: str(each) if name.endswith("_id") and isinstance(each, int) else _with_ids_as_texts(each)
            for name, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [_with_ids_as_texts(each) for each in value]
    return value
