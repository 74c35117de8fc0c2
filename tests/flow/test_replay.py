"""What was refused comes back once its rule is mended: the same record, at its own place, once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from lakehouse import commits
from lakehouse.errors import InputError
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_DUPLICATES, SILVER_EVENTS, SILVER_QUARANTINE
from operate.quarantine import Replay, list_refused
from tests.builders import event, purchase, record, records
from tests.crashing import Crash, Crashing
from tests.flow.repairs import LARGE, STRICT, replayed, with_rule
from tests.flow.steps import Lake


@pytest.fixture(scope="module")
def refused(shared_lake: Lake) -> Lake:
    """A purchase, and twice a larger one, of which the small rule refuses both; and what no rule lets pass."""
    strict = with_rule(shared_lake, STRICT)
    strict.land(records([purchase(price="1.00"), LARGE, LARGE, b"{", event(price="free", note="x" * 300)]))
    strict.refine()
    strict.aggregate()
    assert len(strict.rows(SILVER_QUARANTINE)) == 4
    return strict


@pytest.fixture
def mended(refused: Lake, tmp_path: Path) -> Lake:
    return with_rule(refused.copy(tmp_path / "home"), 1_000_000)


def test_a_replay_after_the_fix_moves_what_is_refused_no_longer(mended: Lake) -> None:
    seen = mended.rows(SILVER_QUARANTINE, "offset", "first_seen_at")
    done = replayed(mended)
    assert done == Replay(4, {"too_large": 3, "not_json": 1}, {"not_json": 1, "bad_price": 1}, events=1, copies=1)
    assert mended.rows(SILVER_EVENTS, "offset") == [(0,), (1,)], "the first copy, at its own place"
    assert mended.rows(SILVER_DUPLICATES, "offset") == [(2,)]
    reasons = {offset: row for offset, *row in mended.rows(SILVER_QUARANTINE, "offset", "reasons", "replayed_at")}
    assert [offset for offset, (_, at) in reasons.items() if at is not None] == [1, 2]
    assert reasons[3] == [("not_json",), None] and reasons[4] == [("bad_price",), None], "today's reasons"
    assert mended.rows(SILVER_QUARANTINE, "offset", "first_seen_at") == seen
    mended.aggregate()
    assert sorted(str(row["revenue"]) for row in mended.sales().values()) == ["5.00"]
    mended.assert_published()


def test_a_second_replay_changes_nothing(mended: Lake) -> None:
    replayed(mended)
    versions = [mended.version(table) for table in (SILVER_EVENTS, SILVER_DUPLICATES, SILVER_QUARANTINE)]
    again = replayed(mended)
    assert (again.records, again.events, again.copies) == (2, 0, 0)
    assert [mended.version(table) for table in (SILVER_EVENTS, SILVER_DUPLICATES, SILVER_QUARANTINE)] == versions


def test_a_dry_run_tells_the_same_and_writes_nothing(mended: Lake) -> None:
    versions = [mended.version(table) for table in (SILVER_EVENTS, SILVER_DUPLICATES, SILVER_QUARANTINE)]
    would = replayed(mended, dry_run=True)
    assert [mended.version(table) for table in (SILVER_EVENTS, SILVER_DUPLICATES, SILVER_QUARANTINE)] == versions
    assert would == replayed(mended)


def test_only_the_records_that_break_a_rule(mended: Lake) -> None:
    assert replayed(mended, "not_json") == Replay(1, {"not_json": 1}, {"not_json": 1}, 0, 0)
    assert replayed(mended, "too_large").records == 3
    with pytest.raises(InputError, match="too_big"):
        replayed(mended, "too_big")


def test_lots_of_one_record_end_in_the_same_rows(mended: Lake, tmp_path: Path) -> None:
    small = mended.copy(tmp_path / "in small lots")
    small.settings = small.settings.model_copy(update={"max_batch_rows": 1})
    assert replayed(small) == replayed(mended)
    for table in (SILVER_EVENTS, SILVER_DUPLICATES, SILVER_QUARANTINE):
        assert small.stable_rows(table) == mended.stable_rows(table)


def test_a_replay_that_dies_is_taken_back_and_done_again(mended: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the commit to events, when those to duplicates and to quarantine are done."""
    crash = Crashing(3, "before")
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(commits, "append", crash.around(commits.append))
        patch.setattr(commits, "merge", crash.around(commits.merge))
        replayed(mended)
    done = replayed(mended)
    assert (done.events, done.copies) == (1, 1)
    assert mended.rows(SILVER_DUPLICATES, "offset") == [(2,)]
    assert [row[1] for row in mended.rows(SILVER_QUARANTINE, "offset", "replayed_at")].count(None) == 2


def test_the_list_has_rules_days_and_samples(mended: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    replayed(mended)
    assert list_refused(mended.settings, Console(), samples=1, as_json=True) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["records"], facts["replayed"]) == (2, 2)
    assert {row["rule"]: row["records"] for row in facts["by_rule"]} == {"not_json": 1, "bad_price": 1}
    assert all(row["sentence"] for row in facts["by_rule"])
    assert [row["records"] for row in facts["by_day"]] == [2]
    assert [(row["place"], row["value"]) for row in facts["samples"]] == [("store-events[0]@3", "{")]
    assert list_refused(mended.settings, Console(width=200), "bad_price") == 0
    assert "store-events[0]@4" in (out := capsys.readouterr().out) and "not_json" not in out


def test_a_refused_row_of_a_file_is_shown_with_its_line_and_reason(
    mended: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = mended.settings.unreadable_topic
    headers = (("file", b"2019-10-05.csv"), ("line", b"17"), ("reason", b"8 columns instead of 9"))
    mended.land([record(b"a,b\n", 7, topic=topic)._replace(headers=headers)])
    mended.refine()
    assert list_refused(mended.settings, Console(), samples=2, as_json=True) == 0
    samples = {row["place"]: row["origin"] for row in json.loads(capsys.readouterr().out)["samples"]}
    assert samples.pop(f"{topic}[0]@7") == "2019-10-05.csv line 17: 8 columns instead of 9"
    assert list(samples.values()) == [""]


def test_an_unknown_rule_is_named(settings: Settings) -> None:
    with pytest.raises(InputError, match="one of"):
        list_refused(settings, Console(), "too_big")
