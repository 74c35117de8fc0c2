"""The demo as a user has it: stopped in the middle, gone on with, stopped from elsewhere, wiped."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from ingest.csv_files import write_csv_files
from ingest.generate import history
from ingest.shape import StoreShape
from lakehouse.settings import Settings
from lakehouse.tables import BRONZE_SCHEMAS, GOLD_MODEL_DRIFT, TABLES
from tests.services import strangers
from tests.services.runs import BIN, ODD_HOME, ask

ROWS = 20_000


# Over two minutes: two Sparks start, and both models are trained while the stream runs.
@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="a stranger reads /proc")
def test_a_generated_demo_shows_a_store_and_strangers_nothing(tmp_path: Path) -> None:
    settings, log = Settings(home=tmp_path / "home"), tmp_path / "demo.log"
    with log.open("wb") as output:
        command = [str(BIN / "lakehouse"), "demo", "--minutes", "1.5"]
        environment = os.environ | {"LAKEHOUSE_HOME": str(settings.home)}
        demo = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        try:
            for words in ("First sale", "Live page: http", "MLflow: http"):
                _wait_for(log, words)
            ports = strangers.assert_a_stranger_gets_nothing(settings)
            assert demo.wait(900) == 0, log.read_text()
        finally:
            demo.terminate()
            demo.wait(120)
    assert not any(map(strangers.answers, ports))
    strangers.assert_nothing_is_readable(settings)

    said = log.read_text()
    assert said.count("holds") == 5
    rows = {name: int(count.replace(",", "")) for name, count in re.findall(r"^(\w+\.\w+) +([\d,]+)  ", said, re.M)}
    kept = {table.name for table in TABLES if table not in (BRONZE_SCHEMAS, GOLD_MODEL_DRIFT)}
    assert kept <= rows.keys() and all(rows.values()), rows
    assert re.search(r"[1-9]\d* sales of another day sent late", said)
    # The past is no sale of now.
    assert float(re.findall(r"payment to product-sales: p50 ([\d.]+) s", said)[0]) < 60.0


# Two minutes: it starts Kafka once and three Sparks, twice.
@pytest.mark.long
def test_a_demo_that_is_interrupted_goes_on_and_one_that_is_wiped_is_gone(tmp_path: Path) -> None:
    home = tmp_path / ODD_HOME
    rows = _csv_files(tmp_path / "input")
    with (tmp_path / "first.log").open("wb") as log:
        first = subprocess.Popen(
            [str(BIN / "lakehouse"), "demo", "--files", str(tmp_path / "input")],
            env=os.environ | {"LAKEHOUSE_HOME": str(home), "LC_ALL": "C"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        _wait_for(tmp_path / "first.log", "split into")
        started = psutil.Process(first.pid).children(recursive=True)
        first.send_signal(signal.SIGINT)
        assert first.wait(900) == 0, (tmp_path / "first.log").read_text()
    said = (tmp_path / "first.log").read_text()
    assert "Nothing is lost" in said and "Traceback" not in said
    assert [process for process in started if process.is_running()] == []

    second = _lakehouse(["demo", "--files", str(tmp_path / "input")], home)
    goes_on = "left of an earlier run" in second
    assert goes_on or "split into" in second, second
    assert second.count("holds") == 5
    settings = Settings(home=home)
    landed = ask("SELECT count(*) FROM bronze.events", settings)[0][0]
    assert landed == rows if goes_on else landed == 2 * rows

    assert "nothing runs" in _lakehouse(["down"], home)
    assert (home / "lake").is_dir()
    assert "removed" in _lakehouse(["down", "--wipe", "--yes"], home)
    assert not home.exists()


def test_wiping_asks_first(tmp_path: Path) -> None:
    (tmp_path / "home" / "lake").mkdir(parents=True)
    done = subprocess.run(
        [str(BIN / "lakehouse"), "down", "--wipe"],
        env=os.environ | {"LAKEHOUSE_HOME": str(tmp_path / "home")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "--yes" in done.stderr
    assert (tmp_path / "home" / "lake").is_dir()
    assert "removed" in _lakehouse(["down", "--wipe", "--yes"], tmp_path / "home")
    assert not (tmp_path / "home").exists()


def _csv_files(folder: Path) -> int:
    start_at = datetime(2020, 1, 6, tzinfo=UTC)
    shape = StoreShape(products=500, categories=20, brands=20)
    files = write_csv_files(history(shape, 1, start_at, 1, rate_per_s=ROWS / 86_400), folder, per="day")
    return sum(len(path.read_text().splitlines()) - 1 for path in files)


def _wait_for(log: Path, words: str, timeout_s: float = 600.0) -> None:
    end_s = time.monotonic() + timeout_s
    while words not in log.read_text():
        assert time.monotonic() < end_s, log.read_text()
        time.sleep(0.05)


def _lakehouse(command: list[str], home: Path) -> str:
    done = subprocess.run(
        [str(BIN / "lakehouse"), *command],
        env=os.environ | {"LAKEHOUSE_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
