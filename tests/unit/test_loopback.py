"""Behind a proxy this machine is still asked directly: by us, and by what we start."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lakehouse.loopback import ask_directly
from operate.cli import main

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())"


class _Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), _Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def behind_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that nobody answers for."""
    for name in ("no_proxy", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.setenv(name, "")  # so that it is restored
        monkeypatch.delenv(name)
    for name in PROXIES:
        monkeypatch.setenv(name, "http://127.0.0.1:9")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.usefixtures("behind_proxy")
def test_what_the_command_starts_reaches_this_machine(host: str, port: int, tmp_path: Path) -> None:
    assert main(["sql", "SELECT 1", "--home", str(tmp_path)]) == 0
    command = [sys.executable, "-c", ASK, f"http://{host}:{port}/"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert said.stdout == "hello\n", said.stderr


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "127.0.0.1,localhost"),
        ({"no_proxy": ""}, "127.0.0.1,localhost"),
        ({"no_proxy": "example.com, .corp"}, "example.com,.corp,127.0.0.1,localhost"),
        ({"NO_PROXY": "example.com"}, "example.com,127.0.0.1,localhost"),
        ({"no_proxy": "localhost,127.0.0.1"}, "localhost,127.0.0.1"),
        ({"no_proxy": "a", "NO_PROXY": "b"}, "a,127.0.0.1,localhost"),
        ({"no_proxy": "*"}, "*"),
    ],
)
def test_what_somebody_has_named_stays(before: dict[str, str], after: str) -> None:
    environment = dict(before)
    for _ in range(2):
        ask_directly(environment)
        assert environment == {"no_proxy": after, "NO_PROXY": after}


@pytest.mark.usefixtures("behind_proxy")
def test_the_proxy_is_still_asked_for_the_rest_of_the_world() -> None:
    from urllib.request import proxy_bypass

    ask_directly(os.environ)
    assert not proxy_bypass("example.com")
