"""Packages: by uv where there is one, by pip otherwise; pip's settings hold for both."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from operate.packages import Packages, for_uv, pinned
from operate.progress import StepError


def answers(venv: Path, listing: str) -> None:
    """A venv whose Python answers `pip config list`."""
    python = venv / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\ncat <<'END'\n{listing}\nEND\n")
    python.chmod(0o755)


def test_settings_of_pip_are_told_to_uv() -> None:
    listing = """\
global.index-url='https://a.example/simple'
global.extra-index-url='https://b.example/simple\\nhttps://c.example/simple'
install.find-links='/wheels /more'
global.timeout='60'
freeze.timeout='10'"""
    told = for_uv(listing, {})
    assert told["UV_DEFAULT_INDEX"] == "https://a.example/simple"
    assert told["UV_INDEX"] == "https://b.example/simple https://c.example/simple"
    assert told["UV_FIND_LINKS"] == "/wheels,/more"
    assert told["UV_HTTP_TIMEOUT"] == "60"


def test_the_environment_goes_before_files_and_uvs_own_variables_before_all() -> None:
    listing = ":env:.index-url='https://env.example'\nglobal.index-url='https://file.example'\nglobal.cert='/ca.pem'"
    told = for_uv(listing, {"SSL_CERT_FILE": "/mine.pem"})
    assert told["UV_DEFAULT_INDEX"] == "https://env.example"
    assert "SSL_CERT_FILE" not in told
    assert "UV_DEFAULT_INDEX" not in for_uv(listing, {"UV_DEFAULT_INDEX": "https://uv.example"})


def test_without_settings_of_pip_uv_is_told_no_place() -> None:
    assert set(for_uv("", {})) <= {"UV_INDEX_STRATEGY", "UV_SYSTEM_CERTS"}


def test_uv_installs_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    answers(tmp_path, ":env:.no-index='1'\n:env:.find-links='/wheels'")
    (tmp_path / "bin" / "uv").touch()
    calls: list[tuple[list[str], Mapping[str, str]]] = []
    Packages(tmp_path, lambda command, more: calls.append((command, more))).install(*pinned("run"))
    ((command, more),) = calls
    assert command[:4] == [f"{tmp_path}/bin/uv", "pip", "install", "--python"]
    assert "--no-index" in command and "--compile-bytecode" not in command
    assert command[-1].endswith("requirements/run.txt")
    assert more["UV_FIND_LINKS"] == "/wheels"


def test_where_python_may_not_compile_later_all_is_compiled_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    answers(tmp_path, "")
    (tmp_path / "bin" / "uv").touch()
    calls: list[list[str]] = []
    Packages(tmp_path, lambda command, more: calls.append(command)).install("-e", ".")
    assert "--compile-bytecode" in calls[0]


def test_without_uv_pip_installs_the_same_list(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[list[str]] = []

    def run(command: list[str], more: Mapping[str, str]) -> None:
        calls.append(command)
        if command[-1].endswith("uv.txt"):
            raise StepError("pip ended with code 1", tmp_path / "log")

    packages = Packages(tmp_path, run)
    packages.get_uv()
    packages.install(*pinned("run", "java"))
    assert "pip takes its place" in capsys.readouterr().out
    assert calls[1][:3] == [f"{tmp_path}/bin/python", "-m", "pip"]
    assert [part for part in calls[1] if part.endswith(".txt")] == pinned("run", "java")[2::2]


@pytest.mark.parametrize("by", ["uv", "pip"])
def test_a_package_without_its_hash_is_refused(tmp_path: Path, by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operate.packages.REQUIREMENTS", tmp_path)
    (tmp_path / "run.txt").write_text("nothing-of-ours==1.0\n")
    info = "nothing_of_ours-1.0.dist-info"
    with zipfile.ZipFile(tmp_path / "nothing_of_ours-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: nothing-of-ours\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    installers = {
        "uv": [str(Path(sys.executable).with_name("uv")), "pip", "install", "--python", sys.executable],
        "pip": [sys.executable, "-m", "pip", "install", "--disable-pip-version-check"],
    }
    command = [*installers[by], "--dry-run", "--no-index", "--find-links", str(tmp_path)]
    done = subprocess.run([*command, *pinned("run")], capture_output=True, text=True, check=False)
    assert done.returncode and "--require-hashes" in done.stderr, done.stderr
    without = subprocess.run([*command, "-r", str(tmp_path / "run.txt")], capture_output=True, text=True, check=False)
    assert without.returncode == 0, without.stderr
