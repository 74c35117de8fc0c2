"""What waits for a commit with others counts as written for all that comes after it, and may be lost at any moment."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from gold.aggregate import Aggregation
from lakehouse import commits
from lakehouse.streams import Stop
from lakehouse.tables import BRONZE_EVENTS, GOLD_PRODUCT_SALES, SILVER_EVENTS, SILVER_QUALITY_LOG
from operate.commit_group import CommitGroup
from operate.pulse import Pulse
from silver.quality import QualityLog
from silver.refine import Refinement
from tests.builders import INGESTED_AT, Record, bronze_frame, event, purchase, records
from tests.crashing import Crash, Crashing
from tests.flow.steps import SILVER, FakeTopic, Lake

# Of one window and of several days; beyond the memory of a minute; with ids of their own in conflict; refused; copies.
SALES = [
    purchase(event_time=f"2019-10-0{n % 3 + 1} 12:00:{n % 4}0 UTC", product_id=n % 2, user_id=n % 5, price=f"{n}.10")
    for n in range(12)
]
OWN = [event(event_id="a"), event(event_id="a"), purchase(event_id="a", price="9.00"), purchase(event_id="b")]
RECORDS = records([*SALES, *OWN, b"{", event(price="free"), *SALES[:8:2], purchase(user_id=9, price="-0.50"), OWN[3]])
TABLES = (*SILVER, GOLD_PRODUCT_SALES)
_moment = count(1)


class Landing:
    """Stands for bronze.land.Landing, which would ask Kafka where to go on."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def land(self, rows: DataFrame, _end: Mapping[str, Any], _counts: Mapping[Any, int]) -> int:
        columns = rows.select(*BRONZE_EVENTS.schema.fieldNames()).coalesce(1)
        return commits.append(columns, BRONZE_EVENTS, self._lake.settings, {"position": {}})


class Process:
    """The pipeline's steps of one process, on a lake; its memory is lost with it."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.refinement = Refinement(lake.spark, lake.settings)
        self.aggregation = Aggregation(lake.spark, lake.settings, lake.topic)
        self.quality = QualityLog(lake.spark, lake.settings)
        parts = (Landing(lake), self.refinement, self.aggregation, self.quality, Pulse(lake.settings))
        self.group = CommitGroup(*parts, lake.settings)  # type: ignore[arg-type]

    def take_in(self, batch: list[Record]) -> None:
        """Publishes a batch, and leaves it unwritten."""
        rows = bronze_frame(self.lake.spark, batch)
        judged = self.refinement.judge(rows.withColumn("ingested_at", F.lit(_next_moment())))
        change = self.aggregation.revise(judged.purchases, self.refinement.version, INGESTED_AT)
        self.aggregation.publish(change)
        self.group.add(judged, change, {})

    def write(self) -> None:
        with self.group.written_in_time(Stop()):
            pass
        self.aggregation.upsert()


def _next_moment() -> datetime:
    """Later than all before it."""
    return INGESTED_AT + timedelta(seconds=next(_moment))


def lived(lake: Lake, batches: list[list[Record]]) -> dict[str, list[tuple]]:
    """Each batch in a commit of its own. Out: the rows."""
    process = Process(lake)
    for batch in batches:
        process.take_in(batch)
        process.write()
    return results(lake)


def results(lake: Lake) -> dict[str, list[tuple]]:
    return {table.name: lake.stable_rows(table) for table in TABLES}


def in_batches(seed: int) -> list[list[Record]]:
    draw = random.Random(seed)
    cuts = sorted(draw.sample(range(1, len(RECORDS)), 3))
    return [RECORDS[begin:end] for begin, end in pairwise([0, *cuts, len(RECORDS)])]


@pytest.fixture(scope="module")
def one_by_one(shared_lake: Lake) -> dict[str, list[tuple]]:
    return lived(shared_lake, in_batches(1))


@pytest.mark.parametrize("seed", [1, 2])
def test_batches_in_one_commit_give_the_rows_of_one_commit_each(
    lake: Lake, one_by_one: dict[str, list[tuple]], seed: int
) -> None:
    process, before = Process(lake), {table: lake.version(table) for table in (BRONZE_EVENTS, SILVER_EVENTS)}
    batches = in_batches(seed)
    for batch in batches[:3]:
        process.take_in(batch)
    process.write()
    for batch in batches[3:]:
        process.take_in(batch)
    process.write()
    assert {table: lake.version(table) - version for table, version in before.items()} == dict.fromkeys(before, 2)
    found = results(lake)
    assert all(found.values())
    assert found == one_by_one
    lake.assert_conserved()
    lake.assert_published()
    logged = lake.read(SILVER_QUALITY_LOG, "records") if process.quality.write() else None
    assert logged is not None and sum(logged["records"].to_pylist()) == len(RECORDS)


# Before bronze, when all that waits is lost; before silver; before gold. Between silver's commits test_crashes.py dies.
@pytest.mark.parametrize("number", [1, 2, 5])
def test_a_process_that_dies_with_what_waits_is_gone_on_with(
    lake: Lake, one_by_one: dict[str, list[tuple]], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    batches = in_batches(1)
    first = Process(lake)
    first.take_in(batches[0])
    first.write()
    for batch in batches[1:3]:
        first.take_in(batch)
    crash = Crashing(number, "before")
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(commits, "append", crash.around(commits.append))
        patch.setattr(commits, "merge", crash.around(commits.merge))
        first.write()
    # What bronze has silver takes in from there, as the start of the pipeline does; the rest comes from Kafka again.
    is_landed = lake.version(BRONZE_EVENTS) == 2
    lake.refine()
    lake.aggregate()
    second = Process(lake)
    for batch in batches[3:] if is_landed else batches[1:]:
        second.take_in(batch)
    second.write()
    assert results(lake) == one_by_one
    lake.assert_conserved()
    lake.assert_published()


@pytest.mark.parametrize(("setting", "value"), [("commit_s", 0.0), ("commit_rows", 3)])
def test_what_is_old_or_much_is_written_at_once(lake: Lake, tmp_path: Path, setting: str, value: float) -> None:
    patient = {"commit_s": 30.0, "commit_rows": 1_000_000}
    changed = lake.settings.model_copy(update=patient | {setting: value})
    process = Process(Lake(lake.spark, changed, FakeTopic()))
    version = lake.version(BRONZE_EVENTS)
    process.take_in(RECORDS[:2])
    process.group.write_if_due()
    assert lake.version(BRONZE_EVENTS) == version + (setting == "commit_s")
    process.take_in(RECORDS[2:4])
    process.group.write_if_due()
    assert lake.version(BRONZE_EVENTS) == version + 1 + (setting == "commit_s")


def test_though_nothing_more_comes_what_waits_is_written(lake: Lake) -> None:
    process, version, stop = Process(lake), lake.version(BRONZE_EVENTS), Stop()
    with process.group.written_in_time(stop):
        with process.group.lock:
            process.take_in(RECORDS[:3])
            assert lake.version(BRONZE_EVENTS) == version
        written = Stop()
        while lake.version(BRONZE_EVENTS) == version:
            assert not written.wait(0.05) and not stop.is_set()


def test_what_could_not_be_written_is_not_tried_again(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of it may be in the tables: the next process finds out."""
    process, version = Process(lake), lake.version(BRONZE_EVENTS)
    process.take_in(RECORDS[:3])
    crash = Crashing(1, "after")
    monkeypatch.setattr(commits, "append", crash.around(commits.append))
    with pytest.raises(Crash):
        process.write()
    process.write()
    assert lake.version(BRONZE_EVENTS) == version + 1
