"""The embedded PostgreSQL, wherever it is installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from lakehouse.settings import Settings
from operate.services import postgres
from operate.services.postgres import PostgresServer
from serving.server import connect
from serving.store import prepare_store
from tests.postgres_server import running, running_server


def test_it_runs_from_a_folder_that_nobody_else_may_enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root runs it as another user, whose way to it leads through root's folders."""
    own = tmp_path / "own"
    own.mkdir(mode=0o700)
    package = postgres.BIN.parents[1]
    for folder in package.parent.glob(f"{package.name}*"):  # its libraries lie beside it
        shutil.copytree(folder, own / folder.name, symlinks=True)
    monkeypatch.setattr(postgres, "BIN", own / package.name / "pginstall" / "bin")
    with running_server(own / "home") as (server, _), psycopg.connect(server.bi_dsn) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("bi",)


def test_its_reader_gets_the_password_that_is_asked_for_later(tmp_path: Path) -> None:
    with running_server(tmp_path) as (server, _), psycopg.connect(server.bi_dsn):
        pass
    later = PostgresServer(Settings(home=tmp_path, bi_password=SecretStr("a: b\\c"), _env_file=None))
    with running(later) as (server, _):
        with connect(server.dsn, "sink") as connection:
            prepare_store(connection, "a: b\\c")
        with psycopg.connect(server.bi_dsn) as connection:
            assert connection.execute("SELECT count(*) FROM customers").fetchone() == (0,)
        assert server.bi_password == "a: b\\c"
