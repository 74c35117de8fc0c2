"""The open loop, files as a timed stream, and what the command line refuses. Without Kafka."""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest

from ingest.live import Sent, send_when_due
from ingest.produce import Wish, duration, wish_of
from ingest.recorded import at_rate, at_speed, check_files, in_order, read_time, recorded
from lakehouse.errors import InputError
from lakehouse.event_contract import FIELDS
from operate.cli import main
from tests.fake_stream import FakeClock, FakeProducer

NOW_S = datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp()
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, *rows: str) -> Path:
        """Each row: its event_time and its product; `!` begins a row that is written as it is."""
        path = tmp_path / name
        path.write_text(",".join(FIELDS) + "\n" + "".join(_line(row) + "\n" for row in rows))
        return path

    return write


def _line(row: str) -> str:
    if row.startswith("!"):
        return row[1:]
    at, product = row.rsplit(" ", 1)
    return f"{f'2020-02-03 {at} UTC' if at[:1].isdigit() else at},view,{product},1,,,1.00,7,s"


def names(files: list[Path]) -> str:
    """What in_order makes of them: the products, and the bytes of unreadable rows."""
    rows = [row.record for row in in_order(files)]
    return " ".join(r.value.decode().strip() if r.reason else json.loads(r.value)["product_id"] for r in rows)


class Played:
    """Files played against a clock of pretence."""

    def __init__(
        self,
        files: list[Path],
        rate: float = 0.0,
        speed: float = 1.0,
        is_live: bool = False,
        seconds: float = math.inf,
        is_away: Callable[[float], bool] = lambda now_s: False,
        stop_at_s: float = math.inf,
    ) -> None:
        clock = FakeClock(NOW_S)
        self.progress: list[Sent] = []
        producer = FakeProducer(clock.now, lambda now_s: is_away(now_s - NOW_S))
        rows = in_order(files)
        timed = at_rate(rows, NOW_S, rate) if rate else at_speed(rows, NOW_S, speed)
        blocks = recorded(timed, "events", "aside", is_live)
        self.sent = send_when_due(
            producer,
            blocks,
            NOW_S + seconds,
            lambda: clock.now() - NOW_S >= stop_at_s,
            self.progress.append,
            clock.clock(),
        )
        self.took_s = clock.now() - NOW_S
        self.records = producer.sent
        assert producer.flushed == len(producer.sent)
        self.moments = [round(at_s - NOW_S, 3) for at_s, *_ in producer.sent]
        self.events = [json.loads(v or b"") for _, topic, _, v, _ in producer.sent if topic == "events"]


def test_files_are_merged_by_time_and_ties_go_by_the_order_of_files(write: Write) -> None:
    a = write("a.csv", "00:00:01 1", "00:00:03 3", "00:00:05 5", "00:00:05 6")
    b = write("b.csv", "00:00:02 2", "00:00:05 7", "00:00:09 9")
    assert names([a, b]) == "1 2 3 5 6 7 9"
    assert names([b, a]) == "1 2 3 7 5 6 9"
    assert names([write("none.csv"), a]) == "1 3 5 6"
    assert names([]) == ""


def test_a_row_without_a_time_goes_right_behind_the_one_before_it(write: Write) -> None:
    a = write("a.csv", "gone 1", "00:00:01 2", "never 3", "!oops", "00:00:04 5")
    b = write("b.csv", "00:00:01 6", ",,, 7", "00:00:00 8")
    assert names([a, b]) == "1 2 3 oops 6 ,,,,view,7,1,,,1.00,7,s 8 5"


def test_a_row_that_is_late_in_its_file_goes_as_soon_as_it_can(write: Write) -> None:
    a = write("a.csv", "00:00:09 9", "00:00:01 1", "00:00:10 10")
    assert names([a, write("b.csv", "00:00:02 2")]) == "2 9 1 10"
    played = Played([write("c.csv", "00:00:01 1", "00:00:09 9", "00:00:02 2", "00:00:10 10")])
    assert played.moments == pytest.approx([0, 8, 8, 9], abs=0.03)
    assert played.sent.worst_behind_s < 0.03, "the row is late, the sending is not"


def test_files_are_read_only_as_far_as_they_are_played(write: Write) -> None:
    path = write("a.csv", *[f"00:{n // 60:02}:{n % 60:02} {n}" for n in range(3_000)])
    rows = in_order([path])
    taken = list(islice(at_rate(rows, 0.0, 1.0), 10))
    assert len(taken) == 10 and next(rows).record.line == 12
    alive = [0]

    def counted() -> Iterator[tuple[float, object]]:
        for due in at_rate(in_order([path]), 0.0, 1.0):
            alive[0] += 1
            yield due

    blocks = recorded(counted(), "events", "aside", False)  # type: ignore[arg-type]
    next(blocks)
    gc.collect()
    assert alive[0] == 1_000


def test_a_speed_is_so_many_times_the_recorded_clock(write: Write) -> None:
    path = write("a.csv", "10:00:00 1", "10:00:00 2", "10:30:00 3", "never 4", "11:00:00 5")
    played = Played([path], speed=60)
    assert played.moments == pytest.approx([0, 0, 30, 30, 60], abs=0.03)
    assert (played.sent.events, played.sent.at) == (5, datetime(2020, 2, 3, 11, tzinfo=UTC))
    assert played.sent.worst_behind_s < 0.03


def test_a_rate_is_even_whatever_the_recorded_clock_says(write: Write) -> None:
    path = write("a.csv", "10:00:00 1", "!oops", "10:00:01 3", "23:00:00 4")
    played = Played([path], rate=2)
    assert played.moments == pytest.approx([0, 0.5, 1, 1.5], abs=0.03)
    assert [topic for _, topic, *_ in played.records] == ["events", "aside", "events", "events"]
    assert played.records[1][3:] == (
        b"oops\n",
        {"file": "a.csv", "line": "3", "bytes": "5", "reason": "1 columns instead of 9"},
    )
    assert played.sent.unreadable == 1


def test_without_live_a_record_is_as_in_the_file_and_with_it_says_its_moment(write: Write) -> None:
    path = write("a.csv", "10:00:00 1", "10:00:00 2", "never 3", "10:00:30.5 4", '!,"Ü",,,,,,,', "10:00:31 6")
    as_recorded, live = Played([path], speed=2), Played([path], speed=2, is_live=True)
    assert [e["event_time"] for e in as_recorded.events][3] == "2020-02-03 10:00:30.5 UTC"
    moment = "2026-01-01 12:00:{} UTC".format
    assert [e.pop("event_time") for e in live.events] == [
        moment("00.000000"), moment("00.000000"), "never", moment("15.250000"), "", moment("15.500000")
    ]  # fmt: skip
    for event in as_recorded.events:
        del event["event_time"]
    assert live.events == as_recorded.events
    assert [key for _, _, key, *_ in live.records] == [b"7"] * 3 + [b"7", None, b"7"]


def test_rows_of_different_moments_stay_different_at_a_high_speed(write: Write) -> None:
    path = write("a.csv", "10:00:00 1", "10:00:00 1", "10:00:01 1", "10:00:02 1")
    times = [event["event_time"] for event in Played([path], speed=100_000, is_live=True).events]
    assert len(set(times)) == 3 and times[0] == times[1], "copies are still copies"


def test_what_is_due_while_kafka_is_away_is_said_and_then_sent_at_once(write: Write) -> None:
    path = write("a.csv", *[f"10:00:{n:02} {n}" for n in range(60)])
    played = Played([path], is_away=lambda s: 10 < s < 30)
    assert [e["product_id"] for e in played.events] == [str(n) for n in range(60)]
    assert sum(1 for moment in played.moments if 10.1 < moment < 30) == 0
    assert sum(1 for moment in played.moments if 30 <= moment < 30.1) == 20
    assert max(p.behind_s for p in played.progress) == pytest.approx(19, abs=0.1) == played.sent.worst_behind_s
    assert played.progress[-1].behind_s < 0.1
    assert played.took_s == pytest.approx(59, abs=0.1)


def test_a_quiet_stretch_is_waited_for_and_said(write: Write) -> None:
    played = Played([write("a.csv", "10:00:00 1", "13:00:00 2")])
    assert played.moments == pytest.approx([0, 3 * 3600], abs=0.3)
    assert max(p.quiet_s for p in played.progress) == pytest.approx(3 * 3600, abs=0.1)
    assert played.progress[-1].quiet_s == 0
    assert (duration(3 * 3600), duration(200_000)) == ("3:00:00", "2.3 days")


def test_a_wish_to_stop_is_seen_within_a_moment_and_seconds_are_a_limit(write: Write) -> None:
    path = write("a.csv", "10:00:00 1", "10:00:01 2", "13:00:00 3")
    stopped = Played([path], stop_at_s=5.0)
    assert (stopped.sent.events, stopped.took_s) == (2, pytest.approx(5, abs=0.26))
    limited = Played([path], seconds=5.0)
    assert limited.sent.events == 2 and limited.took_s < 5
    assert Played([path], seconds=0.0).sent == Sent()
    away = Played([path], is_away=lambda s: True, stop_at_s=5.0)
    assert (away.sent.events, away.took_s) == (0, pytest.approx(5, abs=0.26))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2019-10-01 00:00:00 UTC", datetime(2019, 10, 1, tzinfo=UTC)),
        ("2019-10-01T00:00:00.123456789Z", datetime(2019, 10, 1, 0, 0, 0, 123456, tzinfo=UTC)),
        (" 2019-10-01 00:00:00.5GMT\t", datetime(2019, 10, 1, 0, 0, 0, 500000, tzinfo=UTC)),
        ("2019-10-01 02:00:00+0200", datetime(2019, 10, 1, tzinfo=UTC)),
        ("2019-10-01 00:00:00", datetime(2019, 10, 1, tzinfo=UTC)),
        ("0001-01-01 00:00:00+14:00", None),
        ("2019-02-30 00:00:00 UTC", None),
        ("٢019-10-01 00:00:00 UTC", None),
        ("2019-10-01", None),
        ("", None),
    ],
)
def test_times_are_read_as_silver_reads_them(text: str, expected: datetime | None) -> None:
    assert read_time(text) == expected


def test_the_defaults_of_the_command_line() -> None:
    assert wish_of() == Wish(rate_per_s=100.0)
    assert wish_of(rate=0.0, seconds=3.0, seed=4) == Wish(rate_per_s=0.0, seconds=3.0, seed=4)
    files = (Path("a.csv"), Path("b.csv"))
    assert wish_of(files) == Wish(files, speed=1.0)
    assert wish_of(files, speed=60.0, is_live=True) == Wish(files, speed=60.0, is_live=True)
    assert wish_of(files, rate=60.0) == Wish(files, rate_per_s=60.0)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("--speed 60", "--speed without files"),
        ("--live", "--live without files"),
        ("--rate -1", "--rate -1 --seed 1"),
        ("--seed -1", "--rate 100 --seed -1"),
        ("--rate nan", "--rate nan --seed 1"),
        ("--seconds -1", "--seconds -1"),
        ("--seconds nan", "--seconds nan"),
        ("a.csv --rate 5 --speed 5", "--rate 5 and --speed 5"),
        ("a.csv --rate 0", "--rate 0 with files"),
        ("a.csv --speed 0", "--speed 0 with files"),
        ("a.csv --speed nan", "--speed nan with files"),
        ("a.csv --seed 1", "--seed with files"),
    ],
)
def test_what_does_not_go_together_is_refused(
    command: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ingest", "produce", *command.split(), "--home", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(said)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, write: Write) -> None:
    check_files([write("a.csv")])
    with pytest.raises(InputError, match=r"missing\.csv: No such file"):
        check_files([tmp_path / "missing.csv"])
    with pytest.raises(InputError, match="Is a directory"):
        check_files([tmp_path])
