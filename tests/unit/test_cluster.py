"""The parts of `make cluster-test` that need no cluster: what it looks for must be found when it is there."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from ingest.event_wire import AvroWire
from tests.chaos.checks import Verdict
from tests.chaos.sendings import made_input, spread
from tests.cluster.roads import in_avro, parted
from tests.cluster.watch import Watch

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SECRET = {"kafka": "not so secret 4711"}


def test_each_record_takes_one_road_and_broken_ones_come_as_they_are() -> None:
    sendings = spread(made_input(4_000, 7, NOW), 3, 7)
    json_, avro, lines = parted(sendings, 7)
    assert Counter(map(id, json_ + avro + lines)) == Counter(map(id, sendings))
    assert min(map(len, (json_, avro, lines))) > 500
    assert not any(sending.record.rules for sending in avro + lines)
    assert not any(b"\n" in (sending.record.value or b"") for sending in lines)
    encoded = in_avro(avro, AvroWire(7))
    assert {(sending.record.value or b"")[:5] for sending in encoded} == {b"\0\0\0\0\7"}
    assert [(one.partition, one.record.key) for one in encoded] == [(one.partition, one.record.key) for one in avro]


def test_a_secret_is_found_in_a_log_and_in_a_command_line(tmp_path: Path) -> None:
    watch = Watch()
    watch.look()
    assert watch.secrets_check(SECRET, tmp_path).verdict is Verdict.FAILED, "no logs were looked at"
    for name, text in {"a.log": "all is well", "data-1/0.log": SECRET["kafka"], "users": SECRET["kafka"]}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert watch.secrets_check(SECRET, tmp_path).verdict is Verdict.PASSED
    (tmp_path / "app-1" / "0").mkdir(parents=True)
    (tmp_path / "app-1" / "0" / "stderr").write_text(f"password={SECRET['kafka']}")
    found = watch.secrets_check(SECRET, tmp_path)
    assert found.verdict is Verdict.FAILED and found.numbers["found"] == ["kafka in app-1/0/stderr"]

    (tmp_path / "app-1" / "0" / "stderr").unlink()
    watch = Watch()
    # A process that has just been started has no command line for a moment.
    command = [sys.executable, "-c", "print('up', flush=True); input()", SECRET["kafka"]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdout.readline() == b"up\n"
        watch.look()
        child.communicate(b"\n")
    assert watch.peak_processes >= 2 and watch.peak_mb > 0
    (where,) = watch.secrets_check(SECRET, tmp_path).numbers["found"]
    assert where == f"kafka in a command line, {sys.executable}"
