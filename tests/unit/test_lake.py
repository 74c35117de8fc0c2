"""Reading a lake that is not a folder, without Spark. `make cluster-test` reads one on HDFS."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from rich.console import Console

from lakehouse.errors import ServiceError
from lakehouse.settings import Settings
from lakehouse.tables import BRONZE_EVENTS
from operate import lake
from operate.cli import main
from operate.lake import open_table, query
from operate.show import tables

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def test_delta_rs_logs_errors_only_unless_told_otherwise() -> None:
    """It reads the variable at its import."""
    script = (
        "import os, sys\n"
        "def at_import(event, arguments):\n"
        "    if event == 'import' and arguments[0] == 'deltalake': print(os.environ.get('RUST_LOG'))\n"
        "sys.addaudithook(at_import)\n"
        "import operate.lake\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "RUST_LOG"}
    for given, wanted in (({}, "error"), ({"RUST_LOG": "debug"}, "debug")):
        ran = subprocess.run(
            [sys.executable, "-c", script],
            env=environment | given,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout == f"{wanted}\n"


def test_storage_that_does_not_answer_is_said_and_not_taken_for_an_empty_lake(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, lake="hdfs://127.0.0.1:1/lake", _env_file=None)  # type: ignore[call-arg]
    with pytest.raises(ServiceError, match=r"The lake hdfs://127\.0\.0\.1:1/lake cannot be read: .*refused") as caught:
        open_table(BRONZE_EVENTS, settings)
    assert "\x1b" not in str(caught.value) and "LAKEHOUSE_LAKE" in str(caught.value)
    with pytest.raises(ServiceError):
        tables(settings, Console(quiet=True))


def test_as_of_a_time_before_the_table_there_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    for offset in range(3):
        rows = pa.table({"offset": [offset]})
        write_deltalake(BRONZE_EVENTS.path(Settings(home=home)), rows, mode="append")
    sql = ["sql", 'SELECT count("offset") AS n FROM bronze.events', "--home", str(home), "--json", "--as-of"]
    assert main([*sql, "2015-01-01T00:00:00Z"]) == 1
    assert "bronze.events cannot be read as of 2015-01-01T00:00:00Z: it was made at 20" in capsys.readouterr().err
    for as_of, count in (("0", 1), ("1", 2), ("2100-01-01T00:00:00Z", 3)):
        assert main([*sql, as_of]) == 0
        assert json.loads(capsys.readouterr().out) == [{"n": count}]


def test_a_query_that_stops_before_its_files_are_read_ends_the_program_cleanly(tmp_path: Path) -> None:
    """Most of such programs ended by SIGABRT or never, after they had printed their rows."""
    settings = Settings(home=tmp_path / "a home", _env_file=None)  # type: ignore[call-arg]
    for day in range(40):
        rows = pa.table({"offset": list(range(200)), "ingested_on": [f"2026-01-{day % 10}"] * 200})
        write_deltalake(BRONZE_EVENTS.path(settings), rows, mode="append", partition_by=["ingested_on"])
    command = ["timeout", "60", str(BIN / "lakehouse"), "sql", 'SELECT "offset" FROM bronze.events LIMIT 1']
    environment = os.environ | {"LAKEHOUSE_HOME": str(settings.home)}
    asked = [subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE) for _ in range(4)]
    assert [(each.communicate()[1], each.returncode) for each in asked] == [(b"", 0)] * 4


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO '{folder}/new'",
        "SELECT * FROM read_text('{folder}/theirs')",
        "SELECT * FROM read_csv('{folder}/theirs')",
        "SELECT * FROM '{folder}/theirs.csv'",
        "SELECT * FROM glob('{folder}/*')",
        "ATTACH '{folder}/new'",
        "EXPORT DATABASE '{folder}/new'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET memory_limit = '100GB'",
        "SET temp_directory = '{folder}/new'",
        "SELECT 1; SET lock_configuration = false; COPY (SELECT 1) TO '{folder}/new'",
        "CREATE PERSISTENT SECRET s (TYPE s3)",
    ],
)
def test_a_query_reaches_the_tables_and_nothing_else(
    sql: str, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("theirs", "theirs.csv"):
        (folder / name).write_text("a\n1\n")
    assert main(["sql", sql.format(folder=folder), "--home", str(settings.home)]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert {path.name for path in folder.iterdir()} == {"theirs", "theirs.csv"}


def test_what_does_not_fit_into_memory_is_spilled_in_the_home(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.home.mkdir()
    monkeypatch.setitem(lake._TABLES_ONLY, "memory_limit", "64MB")
    monkeypatch.setitem(lake._TABLES_ONLY, "threads", "1")
    texts = "SELECT md5(i::VARCHAR) || md5((i + 1)::VARCHAR) AS text FROM range(1500000) AS numbers(i)"
    assert query(f"SELECT count(*) FROM ({texts} ORDER BY text OFFSET 1)", settings).fetchall() == [(1_499_999,)]
    assert not (tmp_path / ".tmp").exists()
