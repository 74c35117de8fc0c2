"""Each batch leaves its numbers in silver.quality_log; rates that leave their band are said."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from lakehouse.settings import Settings
from lakehouse.tables import SILVER_EVENTS, SILVER_QUALITY_LOG
from operate.show import status
from silver.quality import QualityLog, newest, out_of_band, totals
from tests.builders import event, records
from tests.flow.steps import Lake

FIRST = [event(), event(), event(user_id=2, brand=None), b"{", event(price="free", user_id="x")]
SECOND = [event(event_time="2019-10-01 01:00:00 UTC"), event(user_id=3)]


@pytest.fixture(scope="module")
def logged(shared_lake: Lake) -> Lake:
    """Two batches; the second has one event of an hour later and one that is then late."""
    shared_lake.land(records(FIRST))
    refinement = shared_lake.refine()
    shared_lake.land(records(SECOND[:1], first_offset=10))
    shared_lake.refine(refinement)
    shared_lake.land(records(SECOND[1:], first_offset=11))
    shared_lake.refine(refinement)
    QualityLog(shared_lake.spark, shared_lake.settings).write()
    return shared_lake


def test_a_row_per_batch_with_its_counts(logged: Lake) -> None:
    names = ("silver_version", "records", "events", "duplicates", "quarantined", "late")
    first, *later = sorted(logged.rows(SILVER_QUALITY_LOG, *names))
    assert (first[1:], [row[1:] for row in later]) == ((5, 2, 1, 2, 0), [(1, 1, 0, 0, 0), (1, 1, 0, 0, 1)])
    frame = logged.spark.read.format("delta").load(SILVER_QUALITY_LOG.path(logged.settings))
    row = frame.orderBy("silver_version").first()
    assert row is not None
    assert row.reasons == {"bad_price": 1, "bad_user_id": 1, "not_json": 1}
    assert row.null_rates == {
        "brand": 0.5,
        "category_code": 1.0,
        "category_id": 0.0,
        "extras": 1.0,
        "user_session": 0.0,
    }
    assert row.first_event_at == row.last_event_at


def test_no_batch_is_logged_twice_or_left_out(logged: Lake, tmp_path: Path) -> None:
    """Another process goes on behind the last row; a row that was not written yet comes from the commit's note."""
    logged = logged.copy(tmp_path / "home")
    assert QualityLog(logged.spark, logged.settings).write() == 0
    logged.land(records([event(user_id=9)], first_offset=20))
    logged.refine()
    assert QualityLog(logged.spark, logged.settings).write() == 1
    versions = [version for (version,) in logged.rows(SILVER_QUALITY_LOG, "silver_version")]
    assert len(set(versions)) == len(versions) == 4 and max(versions) == logged.version(SILVER_EVENTS)


def test_status_shows_them_and_warns(logged: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    settings = logged.settings.model_copy(update={"quality_min_records": 1})
    assert status(settings, Console(width=200)) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "records 7" in shown and "quarantined 2 28.57%" in shown
    assert "WARNING: 28.6% of the newest 7 records are refused (" in shown
    status(logged.settings, Console(width=200))
    assert "WARNING" not in capsys.readouterr().out, "seven records say nothing"


def row(records: int, refused: int = 0, brand: float = 0.4) -> dict:
    rates = {"brand": brand, "category_code": 0.98, "category_id": 0.0, "user_session": 0.0}
    events = records - refused
    counts = {"records": records, "events": events, "duplicates": 0, "quarantined": refused, "late": 0}
    return counts | {"reasons": {"not_json": refused}, "null_rates": rates, "processed_at": datetime.now(UTC)}


def test_rates_are_of_all_newest_rows_together() -> None:
    settings = Settings(quality_records=3000)
    rows = newest([row(1000), row(1000, 100), row(1000, brand=0.9), row(9000, 9000)], settings)
    assert len(rows) == 3
    assert out_of_band(totals(rows), settings) == [
        "3.3% of the newest 3,000 records are refused (not_json 100); at most 2.0% are expected"
    ]
    assert out_of_band(totals(rows[2:]), settings) == [
        "90.0% of the newest 1,000 events have no brand; 20.0% to 65.0% are expected"
    ]
    assert out_of_band(totals([row(999, 999)]), settings) == []
    assert out_of_band(totals([]), settings) == []
