"""From row to pixels: what each viewer has seen when, how long batches waited for it, and what the result says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import live
from bench.live import PROMISED_MS, bench_live, facts_of, is_kept, memory, read_sights, text, waits_ms
from bench.open_loop import Load
from lakehouse.errors import InputError
from lakehouse.settings import Settings
from operate.cli import main

NO_MEMORY = memory([], 0.0, 1.0)


def test_a_batch_waits_until_something_that_is_not_older_is_seen() -> None:
    sights = [(1000, 1100), (1200, 1260), (1900, 2000)]
    assert waits_ms([1000, 1001, 1200, 1201, 1900], sights) == [100, 259, 60, 799, 100]


def test_what_is_never_seen_has_no_wait() -> None:
    assert waits_ms([1000, 1001], [(1000, 1100)]) == [100, None]
    assert waits_ms([1000], []) == [None]
    assert waits_ms([], [(1000, 1100)]) == []


def test_what_a_server_says_after_its_restart_does_not_hide_what_was_seen_before() -> None:
    assert waits_ms([1000, 1500], [(1600, 1700), (900, 1800), (1600, 1900)]) == [700, 200]


@given(
    st.lists(st.integers(0, 50), max_size=8), st.lists(st.tuples(st.integers(0, 50), st.integers(0, 90)), max_size=8)
)
def test_a_wait_is_the_shortest_that_there_is(batches: list[int], sights: list[tuple[int, int]]) -> None:
    seen = [[at_ms - batch for stored_at_ms, at_ms in sights if stored_at_ms >= batch] for batch in batches]
    assert waits_ms(batches, sights) == [min(waits, default=None) for waits in seen]


def test_lines_that_say_something_else_are_left_out(tmp_path: Path) -> None:
    log = tmp_path / "audience.log"
    lines = ["browser 1000 1100", "stream-1 1000 1040", "stream-12 1000 1050", "browser 1200 1300", "", "Traceback"]
    log.write_text("\n".join([*lines, "browser 12", "stream-1 1 x", "stream-x 1 2", "\ufffd"]), encoding="utf-8")
    assert read_sights(log) == {
        "browser": [(1000, 1100), (1200, 1300)],
        "stream-1": [(1000, 1040)],
        "stream-12": [(1000, 1050)],
    }


def test_each_reader_of_the_stream_counts_and_one_that_sees_nothing_misses_all() -> None:
    sights = {"browser": [(20, 100)], "stream-1": [(10, 11), (20, 23)], "stream-2": [(20, 30)]}
    facts = facts_of([10, 20], sights, streams=3, is_real=True)
    assert facts["batches"] == 2
    assert facts["browser"] == {"p50_ms": 90, "p95_ms": 90, "p99_ms": 90, "max_ms": 90, "waits": 2, "missed": 0}
    assert facts["streams"] == {"p50_ms": 10, "p95_ms": 20, "p99_ms": 20, "max_ms": 20, "waits": 6, "missed": 2}


def test_without_a_real_browser_or_without_others_nothing_is_said_of_them() -> None:
    assert "browser" not in facts_of([10], {"stream-1": [(10, 11)]}, streams=1, is_real=False)
    assert "streams" not in facts_of([10], {"browser": [(10, 11)]}, streams=0, is_real=True)


def test_memory_is_that_of_the_measured_time() -> None:
    samples = [(at_s, 100.0 + at_s / 36) for at_s in map(float, range(0, 100, 5))]
    found = memory([(0.0, 900.0), *samples, (99.0, 900.0)], 20.0, 60.0)
    assert (found["first_mb"], found["last_mb"], found["highest_mb"]) == (100.6, 101.7, 101.7)
    assert found["slope_mb_per_hour"] == 100.0
    assert found["every_10_s_mb"] == [100.6, 100.8, 101.1, 101.4, 101.7]


def test_memory_without_samples_is_unknown() -> None:
    for samples in ([], [(1.0, 5.0)], [(100.0, 5.0), (101.0, 5.0)]):
        found = memory(samples, 0.0, 50.0)
        assert found["first_mb"] is found["slope_mb_per_hour"] is None and found["every_10_s_mb"] == []


def facts(
    browser: list[tuple[int, int]] | None, streams: list[tuple[int, int]], batches: tuple[int, ...] = (10,)
) -> dict[str, Any]:
    """Of one reader of the stream, and a real browser if it has sights."""
    sights = {"browser": browser or [], "stream-1": streams}
    return {
        "rate_per_s": 50.0,
        "seconds": 40.0,
        "warm_up_s": 30.0,
        "browsers": 2,
        "browsers_at_end": 2,
        **facts_of(batches, sights, 1, browser is not None),
        "server_memory": NO_MEMORY,
        "sent_events": 3_500,
        "feeder": "3,500 events sent",
        "load_average_before": [0.1, 0.2, 0.3],
        "load_average_after": [1.1, 1.2, 1.3],
        "cpu_s": {"live page": 2.5},
        "peak_memory_mb": {"live page": 1_200},
    }


IN_TIME, TOO_LATE = [(10, 10 + int(PROMISED_MS))], [(10, 11 + int(PROMISED_MS))]


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (facts(IN_TIME, IN_TIME), True),
        (facts(TOO_LATE, IN_TIME), False),
        (facts(IN_TIME, TOO_LATE), True),  # its promise is about pixels
        (facts(None, IN_TIME), True),
        (facts(None, TOO_LATE), False),
        (facts([], IN_TIME), False),
        (facts(IN_TIME, []), False),
        (facts(IN_TIME, IN_TIME, ()), False),
    ],
)
def test_the_promise(found: dict[str, Any], kept: bool) -> None:
    assert is_kept(found) is kept
    assert ("NOT KEPT" in text(found) or "NO BATCH" in text(found)) is not kept


def test_the_text_says_what_was_measured() -> None:
    said = text(facts([(10, 130)], [(10, 55)]))
    assert "row to pixels at 50 events/s for 40 s, after 30 s of warm-up, with 2 browsers: 1 batches" in said
    assert "p50 120 ms  p95 120 ms  p99 120 ms  max 120 ms  missed 0" in said
    assert "row to news in the stream\np50 45 ms" in said
    assert "no real browser: nothing was painted" in text(facts(None, IN_TIME))
    assert "most memory, MB: live page 1,200" in said


@pytest.mark.parametrize(("sights", "code"), [(IN_TIME, 0), (TOO_LATE, 1)])
def test_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sights: list[tuple[int, int]], code: int
) -> None:
    """Its flags reach the measurement; out come its facts as JSON, and whether the promise is kept."""
    asked: list[tuple[Load, int]] = []

    def measure(_settings: Settings, load: Load, browsers: int, _say: object) -> dict[str, Any]:
        asked.append((load, browsers))
        return facts(sights, IN_TIME)

    monkeypatch.setattr(live, "measure_live", measure)
    flags = ["--rate", "50", "--seconds", "40", "--warm-up", "30", "--browsers", "2", "--json"]
    assert main(["bench", "live", *flags]) == code
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(facts(sights, IN_TIME)))
    assert main(["bench", "live"]) == code
    assert "row to pixels" in capsys.readouterr().out
    assert asked == [(Load(50.0, 40.0, 30.0), 2), (Load(500.0, 120.0, 60.0), 20)]


def test_a_bench_without_browsers_is_refused(settings: Settings) -> None:
    with pytest.raises(InputError, match="--browsers 0"):
        bench_live(settings, print, 50.0, 40.0, 30.0, 0)
