"""Whatever bytes Kafka brings: each record comes out once, as an event or with reasons, and nothing raises."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from lakehouse.settings import Settings
from silver.events import read_records
from silver.rejects import RULES
from tests.builders import bronze_frame, event, records
from tests.unit.test_identity import id_of

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


_VALUES = st.one_of(
    st.none(),
    st.binary(max_size=60),
    _JSON.map(lambda value: json.dumps(value).encode()),
    _changed_events(),
    _changed_events(),
    _cut_events(),
)


@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(values=st.lists(_VALUES, min_size=50, max_size=60))
def test_each_record_comes_out_once_as_an_event_or_with_reasons(
    spark: SparkSession, values: list[bytes | None]
) -> None:
    known = {rule.name for rule in RULES}
    rows = read_records(bronze_frame(spark, records(values)), Settings()).drop("headers").collect()
    assert sorted(row.offset for row in rows) == list(range(len(values)))
    for row in rows:
        assert (None if row.value is None else bytes(row.value)) == values[row.offset]
        assert (row.event_id is None) == bool(row.reasons)
        assert set(row.reasons) <= known
        if row.event_id is not None:
            present = (row.event_at, row.event_type, row.product_id, row.price, row.user_id)
            assert None not in present, row


def test_a_valid_event_among_them_is_still_that_event(spark: SparkSession) -> None:
    rows = read_records(bronze_frame(spark, records([b"\xff", VALID, b"{", None])), Settings()).collect()
    assert {row.offset: row.event_id for row in rows} == {0: None, 1: id_of(VALID), 2: None, 3: None}
