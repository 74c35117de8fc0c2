"""Whatever the environment holds for others, our programs run as without it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from lakehouse.surroundings import ask_directly, speak_utf8, use_ours
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
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
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


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "C.UTF-8"),
        ({"LANG": "C"}, "C.UTF-8"),
        ({"LC_ALL": "POSIX", "LANG": "de_DE.UTF-8"}, "C.UTF-8"),
        ({"LC_CTYPE": "de_DE.ISO-8859-1", "LANG": "de_DE.UTF-8"}, "C.UTF-8"),
        ({"LANG": "de_DE.UTF-8"}, None),
        ({"LANG": "de_DE.utf8", "LC_ALL": ""}, ""),
        ({"LC_CTYPE": "UTF-8"}, None),
    ],
)
def test_a_locale_that_cannot_write_names_is_replaced(before: dict[str, str], after: str | None) -> None:
    environment = dict(before)
    speak_utf8(environment)
    assert environment.get("LC_ALL") == after


def test_another_spark_python_and_postgres_are_passed_over() -> None:
    ours = {"PATH": "/bin", "LAKEHOUSE_HOME": "x", "HADOOP_CONF_DIR": "/etc", "JAVA_HOME": "/j", "KRB5CCNAME": "c"}
    others = ("SPARK_HOME", "SPARK_CONF_DIR", "PYSPARK_PYTHON", "PYTHONPATH", "_JAVA_OPTIONS", "CLASSPATH")
    environment = ours | dict.fromkeys((*others, "PGSERVICE", "PGOPTIONS"), "y")
    use_ours(environment, postgres_too=False)
    assert environment == ours | {"PGSERVICE": "y", "PGOPTIONS": "y"}
    use_ours(environment, postgres_too=True)
    assert environment == ours


def test_packages_of_another_python_do_not_hide_ours(tmp_path: Path) -> None:
    for package in ("pydantic", "pyspark", "rich", "deltalake"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise ImportError('the other one')")
    command = [str(Path(sys.executable).with_name("lakehouse")), "tables", "--json"]
    root = str(Path(__file__).resolve().parents[2])
    for path in (str(tmp_path), os.pathsep.join([root, str(tmp_path)])):
        environment = os.environ | {"PYTHONPATH": path, "LAKEHOUSE_HOME": str(tmp_path / "home")}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    ("home", "said"),
    [("file", "file"), ("file/below", "file"), ("/sys/lakehouse", "/sys/lakehouse"), ("n" * 300, "nnn")],
)
def test_a_home_that_cannot_be_made_is_one_line(
    home: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    # Where nothing is, `status` has nothing to complain of.
    for command in ("up",) if home.startswith("/") else ("up", "status"):
        code = main([command, "--home", str(tmp_path / home)])
        told = capsys.readouterr().err
        assert said in told and "Traceback" not in told and (code, "LAKEHOUSE_HOME" in told) == (1, True), told
