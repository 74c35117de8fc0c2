"""Sessions and carts of the real rows, in the worst order: shuffled, doubled, and one day's file last."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lakehouse.settings import Settings
from lakehouse.tables import GOLD_ABANDONED_CARTS, GOLD_FUNNEL, GOLD_ORDERS, SILVER_SESSIONS
from tests.builders import records
from tests.flow.checks import assert_carts_right
from tests.flow.steps import Lake

REAL_ROWS = Path(__file__).resolve().parents[3] / "shared" / "data"
LAST_DAY = "2019-10-15"


# 90,000 records, and nearly all sessions are computed more than once.
@pytest.mark.long
@pytest.mark.skipif(not REAL_ROWS.is_dir(), reason="the 45,029 real rows are not beside the project")
def test_real_rows_in_the_worst_order(spark: SparkSession, tmp_path: Path, only: Callable[..., None]) -> None:
    only(GOLD_ORDERS, GOLD_FUNNEL)
    lake = Lake(spark, Settings(home=tmp_path / "home", round_s=3600.0, sessions_s=0.0))
    lake.refine()
    writer = lake.take_sessions()  # of an empty table: all that comes goes through the stream
    rows = [row for path in sorted(REAL_ROWS.glob("*.csv")) for row in csv.DictReader(path.open(encoding="utf-8"))]
    held_back = [row for row in rows if row["event_time"].startswith(LAST_DAY)]
    others = [row for row in rows if not row["event_time"].startswith(LAST_DAY)] * 2
    random.Random(1).shuffle(others)
    half = len(others) // 2
    for number, lot in enumerate((others[:half], others[half:], held_back)):
        lake.land_later(records(lot, first_offset=100_000 * number))  # type: ignore[arg-type]
        lake.refine_by_stream()
        lake.take_sessions_by_stream(writer)
    lake.keep()
    lake.leave()
    assert_carts_right(lake)
    assert len(lake.rows(SILVER_SESSIONS, "session_key")) == 9_617
    assert sum(revenue for (revenue,) in lake.rows(SILVER_SESSIONS, "revenue")) == Decimal("15495.56")
    left = lake.rows(GOLD_ABANDONED_CARTS, "cart_value", "recovered_at")
    assert (len(left), sum(value for value, _ in left)) == (2_007, Decimal("41918.61"))
    assert sum(recovered_at is not None for _, recovered_at in left) == 27
