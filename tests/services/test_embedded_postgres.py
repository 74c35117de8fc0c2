"""The embedded PostgreSQL, wherever it is installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg
import pytest

from operate.services import postgres
from tests.postgres_server import running_server


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
