"""Whatever bytes Kafka brings: each record comes out once, as an event or with reasons, and nothing raises."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from lakehouse.settings import Settings
from silver.events import read_records
from silver.rejects import RULES
from tests.any_bytes import VALID, VALUES, few
from tests.builders import bronze_frame, records
from tests.identity_by_hand import id_of


# Few examples of many records each: what costs is the query.
@few(4)
@given(values=st.lists(VALUES, min_size=130, max_size=150))
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
