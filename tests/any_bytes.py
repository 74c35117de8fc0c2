"""Strategies of what a producer may send: bytes of any kind, JSON of any kind, and events that are nearly right."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from tests.builders import event

VALID = json.dumps(event(), ensure_ascii=False).encode()
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_NEAR_TIMES = st.datetimes().map(str) | st.from_regex(
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?"
)
_NEAR_NUMBERS = st.from_regex(r"[+-]?\d{0,25}\.?\d{0,25}([eE][+-]?\d{1,3})?", fullmatch=True)


@st.composite
def _changed_events(draw: st.DrawFn) -> bytes:
    """An event, some fields of which are something else."""
    names = st.sampled_from([*event(), "extra"])
    changes = draw(st.dictionaries(names, _JSON | _NEAR_TIMES | _NEAR_NUMBERS, max_size=3))
    return json.dumps(event(**changes), ensure_ascii=draw(st.booleans())).encode(errors="replace")


@st.composite
def _cut_events(draw: st.DrawFn) -> bytes:
    """An event's bytes, a part of which is something else."""
    first, last = sorted(draw(st.tuples(st.integers(0, len(VALID)), st.integers(0, len(VALID)))))
    return VALID[:first] + draw(st.binary(max_size=8)) + VALID[last:]


VALUES: st.SearchStrategy[bytes | None] = st.one_of(
    st.none(),
    st.binary(max_size=60),
    _JSON.map(lambda value: json.dumps(value).encode()),
    _changed_events(),
    _changed_events(),
    _cut_events(),
)


def few(examples: int) -> settings:
    """Settings of a test whose examples cost seconds in Spark: the same few each time, and none to shrink one."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        phases=(Phase.explicit, Phase.generate),
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )
