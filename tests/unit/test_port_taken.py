"""Somebody has taken PostgreSQL's port while it was away, and asks for passwords: nobody tells him one."""

from __future__ import annotations

import os
import queue
import socketserver
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lakehouse.settings import PREFIX, Settings
from operate.live import page_settings
from operate.services.postgres import PostgresServer
from operate.store_access import known_store

BIN = Path(sys.executable).parent
_ENCRYPTION_WISHES = (80_877_103, 80_877_104)
_ASK_IN_CLEAR, _ASK_MD5 = struct.pack(">cii", b"R", 8, 3), struct.pack(">cii4s", b"R", 12, 5, b"salt")
_LET_IN = struct.pack(">cii", b"R", 8, 0) + struct.pack(">cic", b"Z", 5, b"I")


class Stranger(socketserver.ThreadingTCPServer):
    """Speaks as a PostgreSQL does, up to its question for a password."""

    allow_reuse_address = daemon_threads = True
    asks = _ASK_IN_CLEAR

    def __init__(self) -> None:
        self.told = queue.Queue[bytes]()
        super().__init__(("127.0.0.1", 0), _Visit)

    def was_told_nothing(self) -> bool:
        """By one who has come and is gone."""
        return self.told.get(timeout=10) == b""


class _Visit(socketserver.BaseRequestHandler):
    server: Stranger

    def handle(self) -> None:
        while True:
            head = self.request.recv(8)
            if len(head) < 8:
                return
            length, kind = struct.unpack(">ii", head)
            if kind not in _ENCRYPTION_WISHES:
                break
            self.request.sendall(b"N")
        self.request.recv(length - 8)
        self.request.sendall(self.server.asks)
        self.server.told.put(self.request.recv(1000))


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    with Stranger() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def home(stranger: Stranger, tmp_path: Path) -> Settings:
    """Of a lakehouse whose server is away."""
    settings = Settings(home=tmp_path / "home", kafka_bootstrap="127.0.0.1:1", _env_file=None)  # type: ignore[call-arg]
    server = PostgresServer(settings)
    server.data.mkdir(parents=True)
    server.prepare()
    for passwords in server.folder.glob("*.pgpass"):
        host, _, *rest = passwords.read_text().split(":")
        passwords.write_text(":".join([host, str(stranger.server_address[1]), *rest]))
    return settings


@pytest.mark.parametrize("asks", [_ASK_IN_CLEAR, _ASK_MD5, _LET_IN], ids=["clear", "md5", "none"])
@pytest.mark.parametrize("role", ["dsn", "bi_dsn", "page_dsn", "superuser"])
def test_no_role_says_more_than_its_name(home: Settings, stranger: Stranger, role: str, asks: bytes) -> None:
    stranger.asks = asks
    server = PostgresServer(home)
    dsn = server.superuser_dsn("postgres") if role == "superuser" else getattr(server, role)
    with pytest.raises(psycopg.OperationalError, match="authentication method requirement"):
        psycopg.connect(dsn)
    assert stranger.was_told_nothing()


@pytest.mark.parametrize(
    "command",
    [
        ["lakehouse", "audit"],
        ["lakehouse", "live"],
        ["lakehouse", "export", "hyper", "--out", "."],
        [sys.executable, "-m", "serving.sink"],
        [sys.executable, "-m", "serving.live"],
    ],
    ids=" ".join,
)
def test_no_command_tells_a_password(home: Settings, stranger: Stranger, command: list[str]) -> None:
    environment = os.environ | {f"{PREFIX}HOME": str(home.home), f"{PREFIX}KAFKA_BOOTSTRAP": home.kafka_bootstrap}
    if command[0] != "lakehouse":
        environment |= page_settings(known_store(home))[0].as_environment()
    words = [str(BIN / command[0]) if command[0] == "lakehouse" else command[0], *command[1:]]
    with subprocess.Popen(words, env=environment, cwd=home.home, stdout=subprocess.DEVNULL, stderr=-1) as started:
        end_s = time.monotonic() + 30
        while stranger.told.empty() and started.poll() is None and time.monotonic() < end_s:
            time.sleep(0.02)
        started.kill()
        assert not stranger.told.empty(), started.stderr and started.stderr.read().decode()
    assert stranger.was_told_nothing()


def test_nor_does_its_supervisor(home: Settings, stranger: Stranger) -> None:
    assert not PostgresServer(home).is_ready()
    assert stranger.was_told_nothing()
