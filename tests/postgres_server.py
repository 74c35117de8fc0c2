"""A real PostgreSQL, and databases in it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from lakehouse.settings import Settings
from operate.services import process
from operate.services.postgres import STOP_SIGNAL, PostgresServer


@contextmanager
def running_server(home: Path) -> Iterator[tuple[PostgresServer, subprocess.Popen[bytes]]]:
    """A server in this home, and its process."""
    with running(PostgresServer(Settings(home=home, _env_file=None))) as both:
        yield both


@contextmanager
def running(server: PostgresServer) -> Iterator[tuple[PostgresServer, subprocess.Popen[bytes]]]:
    """A server, started, and its process."""
    server.prepare()
    started = process.spawn(server.command(), server.output)
    try:
        end_s = time.monotonic() + 60
        while not server.is_ready():
            assert started.poll() is None and time.monotonic() < end_s, server.output.read_text()
            time.sleep(0.05)
        yield server, started
    finally:
        if started.poll() is None:
            started.send_signal(STOP_SIGNAL)
        started.wait(30)


def database_in(server: PostgresServer, name: str) -> str:
    """Makes an empty database. Out: how its owner connects."""
    with psycopg.connect(server.superuser_dsn("postgres"), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}"')
    server.make_database(name)
    return server.dsn.replace("dbname=lakehouse", f"dbname={name}")
