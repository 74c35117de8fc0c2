"""Connectors by `lakehouse connect`, in a real worker with the settings we ship, on a Kafka with TLS and a login."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ingest.committed import committed_records
from lakehouse.settings import Settings
from operate.cli import main
from operate.connect_rest import ConnectRest
from operate.connector_file import read_connector, shipped
from operate.services.ports import free_port
from operate.services.topics import ensure_topics
from tests.services.connect_worker import PASSWORD, ConnectWorker
from tests.services.secure_kafka import SecureKafka, settings_for

KAFKA_PASSWORD = "of Kafka 4711"


@pytest.fixture(scope="module")
def worker(secure_kafka: SecureKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConnectWorker]:
    """A JVM, 5 to 10 s: one for all tests here."""
    secure_kafka.add_user("connect", KAFKA_PASSWORD)
    settings = settings_for(secure_kafka, tmp_path_factory.mktemp("home"), "connect", KAFKA_PASSWORD)
    ensure_topics(settings)
    with ConnectWorker(settings, tmp_path_factory.mktemp("connect")) as worker:
        yield worker


@pytest.fixture
def settings(worker: ConnectWorker, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Those of the worker's operator, also in the environment, for the command."""
    settings = worker.settings()
    for name in ("CONNECT_URL", "CONNECT_USER", "CONNECT_PASSWORD"):
        monkeypatch.setenv(f"LAKEHOUSE_{name}", settings.as_environment()[f"LAKEHOUSE_{name}"])
    return settings


def written(folder: Path, name: str, **config: str) -> str:
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"name": name, "config": {"tasks.max": "1"} | config}))
    return str(file)


def test_a_connector_is_created_then_left_alone_then_changed(
    worker: ConnectWorker, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = ("transforms.", "predicates", "key.converter", "value.converter", "transaction.")
    ours = read_connector(*shipped(), settings).config
    lines = tmp_path / "lines"
    config = {key: value for key, value in ours.items() if key.startswith(keys)} | {
        "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
        "file": str(lines),
        "topic": "${events_topic}",
        "transforms": f"AsField,{ours['transforms']}",
        "transforms.AsField.type": "org.apache.kafka.connect.transforms.HoistField$Value",
        "transforms.AsField.field": "user_id",
        "exactly.once.support": "required",
        "note": "${env:LAKEHOUSE_KAFKA_PASSWORD}",
    }
    lines.write_text("463240011\n7\n")
    file = written(tmp_path, "lines", **config)
    assert main(["connect", "apply", file]) == 0
    assert main(["connect", "apply", file]) == 0
    assert capsys.readouterr().out == "lines: created, running\nlines: unchanged, running\n"
    wait_for(settings, {b"463240011": b'{"user_id":"463240011"}', b"7": b'{"user_id":"7"}'})

    file = written(tmp_path, "lines", **config | {"value.converter.schemas.enable": "true", "batch.size": "500"})
    assert main(["connect", "apply", file]) == 0
    assert capsys.readouterr().out == "lines: changed (batch.size, value.converter.schemas.enable), running\n"
    with lines.open("a") as more:
        more.write("8\n")
    wrapped = wait_for(settings, {b"463240011": None, b"7": None, b"8": None})[b"8"]
    assert json.loads(wrapped).keys() == {"schema", "payload"}

    # The worker had the secret; it is not in what it shows, nor in its log, nor on its command line.
    assert ConnectRest(settings).config("lines")["note"] == "${env:LAKEHOUSE_KAFKA_PASSWORD}"  # type: ignore[index]
    assert worker.process
    seen = " ".join(psutil.Process(worker.process.pid).cmdline()) + worker.log.read_text()
    assert "worker.properties" in seen and "lines" in seen
    assert KAFKA_PASSWORD not in seen and PASSWORD not in seen


def wait_for(settings: Settings, expected: dict[bytes, bytes | None]) -> dict[bytes, bytes]:
    """The values of the events by key, once there are as many as expected, each once."""
    while True:
        found = list(committed_records(settings, settings.events_topic, settings.topic_partitions))
        assert len(found) <= len(expected)
        if len(found) == len(expected):
            break
    values = {record.key(): record.value() for record in found}
    assert values == {key: values[key] if value is None else value for key, value in expected.items()}
    return values


def test_what_fails_is_said_and_runs_once_its_cause_is_gone(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "not yet"
    file = written(
        tmp_path,
        "out",
        **{
            "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector",
            "topics": settings.events_topic,
            "file": str(folder / "events"),
            "value.converter": "org.apache.kafka.connect.storage.StringConverter",
        },
    )
    assert main(["connect", "apply", file]) == 1
    assert "out: task 0 failed: org.apache.kafka.connect.errors.ConnectException: " in capsys.readouterr().err
    assert main(["connect", "status"]) == 1
    assert "out: task 0 failed: org.apache.kafka.connect.errors.ConnectException: " in capsys.readouterr().out
    folder.mkdir()
    assert main(["connect", "apply", file]) == 0
    assert capsys.readouterr().out == "out: unchanged, started again, running\n"
    assert main(["connect", "status", "--json"]) == 0
    rows = [row for row in json.loads(capsys.readouterr().out) if row["connector"] == "out"]
    assert [(row["task"], row["state"], row["error"]) for row in rows] == [(None, "RUNNING", ""), (0, "RUNNING", "")]
    assert rows[0]["worker"] in settings.connect_url


def test_a_wrong_config_is_refused_by_its_keys_and_changes_nothing(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class_ = "org.apache.kafka.connect.file.FileStreamSourceConnector"
    wrong = written(tmp_path, "wrong", **{"connector.class": class_, "tasks.max": "many"})
    fine = written(tmp_path, "fine", **{"connector.class": class_, "topic": "x"})
    assert main(["connect", "apply", fine, wrong]) == 1
    said = capsys.readouterr().err
    assert "wrong: Connect finds 3 errors" in said
    assert "tasks.max: Invalid value many" in said and "topic: Missing required configuration" in said
    assert main(["connect", "apply", written(tmp_path, "wrong", **{"connector.class": "no.such.Connector"})]) == 1
    assert f"no connector.class no.such.Connector.\n  Expected: one of {class_[:-15]}" in capsys.readouterr().err
    assert [ConnectRest(settings).config(name) for name in ("wrong", "fine")] == [None, None]


def test_who_is_not_let_in_is_told_so(
    worker: ConnectWorker, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAKEHOUSE_CONNECT_PASSWORD", "wrong 0815")
    assert main(["connect", "status"]) == 1
    said = capsys.readouterr().err
    assert "does not let us in (HTTP 401)" in said and "LAKEHOUSE_CONNECT_PASSWORD" in said
    assert "0815" not in said
    monkeypatch.delenv("LAKEHOUSE_CONNECT_USER")
    assert main(["connect", "status"]) == 1
    away = f"http://127.0.0.1:{free_port(set())}"
    assert main(["connect", "status", "--url", away]) == 1
    assert f"{away} does not answer" in capsys.readouterr().err
