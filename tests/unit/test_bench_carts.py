"""Alerts of abandoned carts: which are seen when, which are taken back, and which are in the result."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from confluent_kafka import Message

from bench import carts
from bench.carts import PROMISED_S, Alerts, Counted, bench_carts, facts_of, is_kept, tell, text
from bench.open_loop import Load
from lakehouse.errors import InputError
from lakehouse.settings import Settings
from lakehouse.tables import GOLD_ABANDONED_CARTS
from lakehouse.wire import to_json, to_key
from operate.cli import main

START_AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
START_S = START_AT.timestamp()
EVER = (START_S - 1e6, START_S + 1e6)


@pytest.fixture
def alerts() -> Alerts:
    return Alerts()


def row(revision: int, abandoned_s: float, number: int = 1, session: str = "s", recovered: bool = False) -> bytes:
    """A record's value. :param abandoned_s: seconds after START_AT."""
    columns: dict[str, Any] = dict.fromkeys(GOLD_ABANDONED_CARTS.schema.fieldNames())
    given = {
        "session_key": session,
        "abandoned_at": START_AT + timedelta(seconds=abandoned_s),
        "abandonments": number,
        "recovered_at": START_AT + timedelta(seconds=abandoned_s + 1) if recovered else None,
        "revision": revision,
    }
    assert given.keys() <= columns.keys()
    return to_json(columns | given)


def show(alerts: Alerts, at_s: float, *args: Any, **kwargs: Any) -> None:
    alerts.shown(row(*args, **kwargs), START_S + at_s)


def counted(alerts: Alerts, since_s: float | None = None, until_s: float | None = None) -> Counted:
    """The delays in order, whole seconds where they are."""
    found = alerts.counted(
        EVER[0] if since_s is None else START_S + since_s, EVER[1] if until_s is None else START_S + until_s
    )
    return Counted(sorted(round(delay_s, 6) for delay_s in found.delays_s), found.withdrawn, found.recovered)


def test_an_alert_takes_from_its_moment_until_it_is_first_seen(alerts: Alerts) -> None:
    show(alerts, 112.5, 1, 100.0)
    show(alerts, 130.0, 1, 120.0, session="other")
    assert counted(alerts) == Counted([10.0, 12.5], 0, 0)


def test_a_moment_with_a_fraction_of_a_second_is_exact(alerts: Alerts) -> None:
    show(alerts, 112.0, 1, 100.75)
    assert counted(alerts).delays_s == [11.25]


def test_a_record_that_comes_again_changes_nothing(alerts: Alerts) -> None:
    for at_s in (110.0, 115.0, 150.0):
        show(alerts, at_s, 1, 100.0)
    assert counted(alerts) == Counted([10.0], 0, 0)


def test_a_newer_revision_of_the_same_moment_is_no_other_alert(alerts: Alerts) -> None:
    """Other items in the cart, for instance."""
    show(alerts, 110.0, 1, 100.0)
    show(alerts, 150.0, 2, 100.0)
    assert counted(alerts) == Counted([10.0], 0, 0)


def test_an_older_revision_that_comes_late_is_not_believed(alerts: Alerts) -> None:
    show(alerts, 260.0, 5, 250.0, number=2)
    show(alerts, 261.0, 4, 100.0)  # earlier and of fewer abandonments: it would withdraw the alert
    assert counted(alerts) == Counted([10.0], 0, 0)


def test_a_repeated_row_after_its_withdrawal_does_not_bring_the_alert_back(alerts: Alerts) -> None:
    show(alerts, 110.0, 1, 100.0)
    alerts.gone("s", 2)
    show(alerts, 120.0, 1, 100.0)
    assert counted(alerts) == Counted([10.0], 1, 0)


def test_an_older_row_after_a_withdrawal_is_no_alert(alerts: Alerts) -> None:
    alerts.gone("s", 2)
    show(alerts, 110.0, 1, 100.0)
    assert counted(alerts) == Counted([], 0, 0)


def test_a_withdrawal_of_an_older_revision_is_passed_over(alerts: Alerts) -> None:
    show(alerts, 110.0, 3, 100.0)
    for revision in (2, 3):
        alerts.gone("s", revision)
    assert counted(alerts) == Counted([10.0], 0, 0)


def test_a_withdrawal_is_of_its_session_alone_and_counts_once(alerts: Alerts) -> None:
    show(alerts, 110.0, 1, 100.0)
    show(alerts, 111.0, 1, 100.0, session="other")
    alerts.gone("s", 2)
    alerts.gone("s", 3)
    alerts.gone("never seen", 3)
    assert counted(alerts) == Counted([10.0, 11.0], 1, 0)


def test_without_a_row_none_of_the_sessions_abandonments_has_been(alerts: Alerts) -> None:
    show(alerts, 110.0, 1, 100.0)
    show(alerts, 260.0, 2, 250.0, number=2)
    alerts.gone("s", 3)
    assert counted(alerts).withdrawn == 2


def test_a_cart_that_is_abandoned_again_is_another_alert_and_withdraws_nothing(alerts: Alerts) -> None:
    show(alerts, 110.0, 1, 100.0)
    show(alerts, 265.0, 2, 250.0, number=2)
    show(alerts, 420.0, 3, 400.0, number=3)
    assert counted(alerts) == Counted([10.0, 15.0, 20.0], 0, 0)


def test_a_moment_that_is_corrected_to_an_earlier_one_withdraws_the_alert_and_is_another(alerts: Alerts) -> None:
    show(alerts, 110.0, 1, 100.0)
    show(alerts, 120.0, 2, 90.0)
    assert counted(alerts) == Counted([10.0, 30.0], 1, 0)


def test_a_moment_that_is_corrected_to_a_later_one_withdraws_the_alert_and_is_another(alerts: Alerts) -> None:
    """A change of the cart came late: it was not left alone yet. The count has not risen."""
    show(alerts, 110.0, 1, 100.0)
    show(alerts, 150.0, 2, 130.0)
    assert counted(alerts) == Counted([10.0, 20.0], 1, 0)


def test_an_earlier_moment_withdraws_though_the_count_has_risen(alerts: Alerts) -> None:
    show(alerts, 110.0, 1, 100.0)
    show(alerts, 120.0, 2, 95.0, number=2)
    assert counted(alerts) == Counted([10.0, 25.0], 1, 0)


def test_back_to_the_abandonment_before_withdraws_the_newest_alert_alone(alerts: Alerts) -> None:
    show(alerts, 110.0, 1, 100.0)
    show(alerts, 260.0, 2, 250.0, number=2)
    show(alerts, 280.0, 3, 100.0)
    assert counted(alerts) == Counted([10.0, 10.0], 1, 0)


def test_a_correction_of_the_second_abandonment_leaves_the_first(alerts: Alerts) -> None:
    show(alerts, 110.0, 1, 100.0)
    show(alerts, 260.0, 2, 250.0, number=2)
    show(alerts, 320.0, 3, 300.0, number=2)
    assert counted(alerts) == Counted([10.0, 10.0, 20.0], 1, 0)


def test_fewer_abandonments_until_the_same_moment_withdraw_the_earlier_alert(alerts: Alerts) -> None:
    show(alerts, 110.0, 1, 100.0)
    show(alerts, 260.0, 2, 250.0, number=2)
    show(alerts, 280.0, 3, 250.0, number=1)
    assert counted(alerts) == Counted([10.0, 10.0], 1, 0)


def test_more_abandonments_until_the_same_moment_withdraw_nothing(alerts: Alerts) -> None:
    show(alerts, 110.0, 1, 100.0)
    show(alerts, 120.0, 2, 100.0, number=2)
    show(alerts, 260.0, 3, 250.0, number=3)  # one more than the two there are now
    assert counted(alerts) == Counted([10.0, 10.0], 0, 0)


@pytest.mark.parametrize(("numbers", "withdrawn"), [((2, 1, 2), 0), ((1, 2, 2), 1)])
def test_an_alert_is_the_abandonment_that_its_newest_row_says(
    alerts: Alerts, numbers: tuple[int, ...], withdrawn: int
) -> None:
    """The third row is of the next abandonment, or of the same one at another moment."""
    for revision, moment_s in enumerate((100.0, 100.0, 250.0), start=1):
        show(alerts, moment_s + 10.0 * revision, revision, moment_s, numbers[revision - 1])
    assert counted(alerts) == Counted([10.0, 30.0], withdrawn, 0)


def test_a_withdrawn_alert_that_is_so_after_all_is_neither_new_nor_never_withdrawn(alerts: Alerts) -> None:
    show(alerts, 110.0, 1, 100.0)
    alerts.gone("s", 2)
    show(alerts, 150.0, 3, 100.0)
    assert counted(alerts) == Counted([10.0], 1, 0)


def test_a_recovery_is_counted_apart_and_withdraws_nothing(alerts: Alerts) -> None:
    show(alerts, 110.0, 1, 100.0)
    show(alerts, 150.0, 2, 100.0, recovered=True)
    show(alerts, 151.0, 2, 100.0, recovered=True)
    assert counted(alerts) == Counted([10.0], 0, 1)


def test_a_cart_that_is_recovered_as_it_is_first_seen_is_an_alert(alerts: Alerts) -> None:
    show(alerts, 110.0, 1, 100.0, recovered=True)
    assert counted(alerts) == Counted([10.0], 0, 1)


def test_a_recovered_cart_that_is_abandoned_again_stays_recovered(alerts: Alerts) -> None:
    show(alerts, 110.0, 1, 100.0, recovered=True)
    show(alerts, 260.0, 2, 250.0, number=2)
    assert counted(alerts) == Counted([10.0, 10.0], 0, 1)


def test_a_recovery_that_is_taken_back_is_none(alerts: Alerts) -> None:
    show(alerts, 110.0, 1, 100.0, recovered=True)
    show(alerts, 120.0, 2, 100.0)
    assert counted(alerts) == Counted([10.0], 0, 0)


def test_only_moments_in_the_measured_time_count_however_late_they_are_seen(alerts: Alerts) -> None:
    for moment_s in (99.0, 100.0, 200.0, 201.0):
        show(alerts, 215.0, 1, moment_s, session=f"at {moment_s}", recovered=moment_s in (99.0, 100.0))
    for moment_s in (200.0, 201.0):
        alerts.gone(f"at {moment_s}", 2)
    assert counted(alerts, 100.0, 200.0) == Counted([15.0, 115.0], 1, 1)


def test_a_correction_to_a_moment_outside_counts_as_a_withdrawal_inside(alerts: Alerts) -> None:
    show(alerts, 115.0, 1, 105.0)
    show(alerts, 120.0, 2, 95.0)
    assert counted(alerts, 100.0, 200.0) == Counted([10.0], 1, 0)
    assert counted(alerts, 0.0, 99.0) == Counted([25.0], 0, 0)


def test_without_a_record_there_is_nothing(alerts: Alerts) -> None:
    nothing = counted(alerts)
    assert nothing == Counted([], 0, 0)
    facts = facts_of(nothing, nothing)
    assert facts["topic"] == {"p50_s": None, "p95_s": None, "p99_s": None, "max_s": None, "alerts": 0}
    assert facts["postgres"] == facts["topic"]
    assert (facts["alerts_withdrawn"], facts["withdrawn_share"], facts["recovered"]) == (0, None, 0)


def record(value: bytes | None, revision: int | None = None, session: str = "s") -> Message:
    """A record as lakehouse.topics.GoldTopics sends it."""
    headers = [] if revision is None else [("revision", str(revision).encode())]
    return Message(topic="abandoned-carts", key=to_key(session), value=value, headers=headers or None)


RECORDS = (
    (record(row(1, 100.0)), 110.0),
    (record(row(2, 100.0, recovered=True)), 120.0),
    (record(None, 3), 130.0),
)


def test_records_of_the_topic(alerts: Alerts) -> None:
    for each, at_s in RECORDS[:2]:
        tell(alerts, each, START_S + at_s)
    assert counted(alerts) == Counted([10.0], 0, 1)
    tell(alerts, record(None, 3, session="other"), START_S + 125.0)
    assert counted(alerts).withdrawn == 0
    tell(alerts, RECORDS[2][0], START_S + 130.0)
    assert counted(alerts) == Counted([10.0], 1, 1)


@pytest.mark.parametrize("again", list(itertools.product(range(3), repeat=2)))
def test_records_that_are_delivered_again_change_nothing(alerts: Alerts, again: tuple[int, ...]) -> None:
    for each, at_s in (*RECORDS, *(RECORDS[place] for place in again)):
        tell(alerts, each, START_S + at_s)
    assert counted(alerts) == Counted([10.0], 1, 1)


def test_a_row_of_the_store_is_the_same_alert() -> None:
    """PostgreSQL writes JSON with blanks, in an order of its own."""
    served = Alerts()
    served.shown(json.dumps(json.loads(row(1, 100.0)), sort_keys=True).encode(), START_S + 111.0)
    assert counted(served) == Counted([11.0], 0, 0)


def facts(topic: Counted, store: Counted | None = None) -> dict[str, Any]:
    return {
        "rate_per_s": 500.0,
        "seconds": 300.0,
        "warm_up_s": 150.0,
        "abandon_after_s": 120,
        **facts_of(topic, store or Counted([], 0, 0)),
        "sent_events": 225_000,
        "feeder": "225,000 events sent",
        "load_average_before": [1.0, 1.0, 1.0],
        "load_average_after": [2.0, 1.0, 1.0],
        "cpu_s": {"Kafka": 1.0, "pipeline": 20.0},
        "peak_memory_mb": {"Kafka": 200, "pipeline": 1_500},
    }


def test_the_facts_of_alerts() -> None:
    found = facts_of(Counted([10.0, 12.0, 14.0, 20.0], 1, 2), Counted([11.0, 13.0], 0, 0))
    assert found["topic"] == {"p50_s": 14.0, "p95_s": 20.0, "p99_s": 20.0, "max_s": 20.0, "alerts": 4}
    assert found["postgres"]["max_s"] == 13.0 and found["postgres"]["alerts"] == 2
    assert (found["alerts_withdrawn"], found["withdrawn_share"], found["recovered"]) == (1, 0.25, 2)


def test_the_promise_is_kept_by_all_alerts_of_the_topic_or_not_at_all() -> None:
    late = Counted([PROMISED_S + 1.0], 0, 0)
    assert is_kept(facts(Counted([1.0, PROMISED_S], 0, 0), late))
    assert not is_kept(facts(Counted([1.0, PROMISED_S + 0.1], 0, 0)))
    assert not is_kept(facts(Counted([], 0, 0)))


def test_the_result_for_people() -> None:
    shown = text(facts(Counted([10.0, 12.0, 14.0, 20.0], 1, 2), Counted([11.0, 13.0], 0, 0)))
    assert "warm-up: 4 alerts\np50 14.00 s  p95 20.00 s  p99 20.00 s  max 20.00 s\n" in shown
    assert "PostgreSQL: 2 alerts\np50 13.00 s" in shown
    assert "changed it for 120 s; by default it is 1,800 s" in shown
    assert "withdrawn or corrected again: 1 alerts (25.00%); recovered by a purchase: 2\n" in shown
    assert "Kafka 1.0, pipeline 20.0" in shown and "pipeline 1,500" in shown
    assert "TOO LATE" not in shown and "NO ALERT" not in shown


def test_what_is_wrong_is_said_to_people() -> None:
    assert text(facts(Counted([31.5], 0, 0))).endswith("TOO LATE: an alert took 31.50 s; 30 s are promised")
    nothing = text(facts(Counted([], 0, 0)))
    assert "warm-up: 0 alerts\np50 -  p95 -  p99 -  max -\n" in nothing and "again: 0 alerts; recovered" in nothing
    assert "\nNO ALERT: " in nothing and "TOO LATE" not in nothing


@pytest.mark.parametrize("abandon_after_s", [0, 450, 1800])
def test_times_in_which_no_cart_can_be_abandoned_are_refused_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, abandon_after_s: int
) -> None:
    monkeypatch.setattr(carts, "measure_carts", lambda *_: pytest.fail("it was started"))
    with pytest.raises(InputError, match=f"--abandon-after {abandon_after_s}, with 450 s"):
        bench_carts(settings, print, 500.0, 300.0, 150.0, abandon_after_s)


@pytest.mark.parametrize(("delay_s", "code"), [(12.0, 0), (31.0, 1)])
def test_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], delay_s: float, code: int
) -> None:
    """Its flags reach the measurement; out come its facts as JSON, and whether the promise is kept."""
    asked: list[tuple[Load, int]] = []

    def measure(_settings: Settings, load: Load, abandon_after_s: int, _say: object) -> dict[str, Any]:
        asked.append((load, abandon_after_s))
        return facts(Counted([delay_s], 0, 0))

    monkeypatch.setattr(carts, "measure_carts", measure)
    flags = ["--rate", "50", "--seconds", "40", "--warm-up", "30", "--abandon-after", "20", "--json"]
    assert main(["bench", "carts", *flags]) == code
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(facts(Counted([delay_s], 0, 0))))
    assert main(["bench", "carts"]) == code
    assert "abandonment to abandoned-carts at 500 events/s" in capsys.readouterr().out
    assert asked == [(Load(50.0, 40.0, 30.0), 20), (Load(500.0, 300.0, 330.0), 300)]
