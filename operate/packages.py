"""Python packages into the venv, exactly as requirements/ pins them: by uv, or by pip where there is no uv.

Standard library only: setup imports this before there are any.
"""

from __future__ import annotations

import ast
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from operate.progress import StepError

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements"
# The build of pyspark packs 490 MB; unpacked again at once, they need not be compressed in between.
HOW = ("--no-deps", "--no-build-isolation", "--config-settings=--build-option=--compression=stored")
# pip's name of a setting, uv's variable, and what stands between several values there.
SETTINGS = (
    ("index-url", "UV_DEFAULT_INDEX", " "),
    ("extra-index-url", "UV_INDEX", " "),
    ("find-links", "UV_FIND_LINKS", ","),
    ("trusted-host", "UV_INSECURE_HOST", " "),
    ("keyring-provider", "UV_KEYRING_PROVIDER", " "),
    ("cert", "SSL_CERT_FILE", " "),
    ("client-cert", "SSL_CLIENT_CERT", " "),
    ("proxy", "ALL_PROXY", " "),
    ("default-timeout", "UV_HTTP_TIMEOUT", " "),
    ("timeout", "UV_HTTP_TIMEOUT", " "),
)
SECTIONS = ("global", "install", ":env:")  # a later one goes before
Run = Callable[[list[str], Mapping[str, str]], None]


class Packages:
    """What is installed in a venv.

    :param run: runs a command with more variables in its environment.
    """

    def __init__(self, venv: Path, run: Run) -> None:
        self._python, self._uv, self._run = venv / "bin" / "python", venv / "bin" / "uv", run
        self.unpacked = venv / "tmp"
        self._pip = [str(self._python), "-m", "pip", "--disable-pip-version-check", "--no-input"]

    def get_uv(self) -> None:
        """uv, by pip; where that fails, pip does it all, more slowly."""
        try:
            self._run([*self._pip, "install", *pinned("uv")], {})
        except StepError:
            print("\n  uv cannot be installed here. pip takes its place, and some minutes longer.", flush=True)

    def install(self, *what: str) -> None:
        if not self._uv.exists():
            self.unpacked.mkdir(exist_ok=True)  # rather than /tmp, which may be too small for pyspark
            self._run([*self._pip, "install", *HOW, *what], {"TMPDIR": str(self.unpacked)})
            return
        listing = subprocess.run([*self._pip, "config", "list"], capture_output=True, text=True, check=True).stdout
        options = ["--no-index"] if re.search(r"\bno-index='(1|true|yes|on)'", listing, re.I) else []
        # Otherwise a module is compiled when it is first imported.
        options += ["--compile-bytecode"] if os.environ.get("PYTHONDONTWRITEBYTECODE") else []
        uv = [str(self._uv), "pip", "install", "--python", str(self._python)]
        self._run([*uv, *HOW, *options, *what], for_uv(listing, os.environ))


def pinned(*names: str) -> list[str]:
    """Arguments for files of requirements/: what has no hash there is refused."""
    return ["--require-hashes", *(part for name in names for part in ("-r", str(REQUIREMENTS / f"{name}.txt")))]


def for_uv(listing: str, environment: Mapping[str, str]) -> dict[str, str]:
    """pip's settings as variables for uv, which does not read them. What is set already stays as it is.

    :param listing: what `pip config list` prints: lines such as `global.index-url='...'`.
    """
    found: dict[tuple[str, str], str] = {}
    for line in listing.split("\n"):
        name, is_setting, value = line.partition("=")
        if not is_setting:
            continue
        section, _, key = name.rpartition(".")
        found[section, key] = str(ast.literal_eval(value))
    wanted = {"UV_INDEX_STRATEGY": "unsafe-best-match"}  # as pip: whichever index has it; the hash decides
    authorities = ssl.get_default_verify_paths()
    if authorities.cafile or authorities.capath or sys.platform == "darwin":
        wanted["UV_SYSTEM_CERTS"] = "1"
    for key, variable, between in SETTINGS:
        for section in SECTIONS:
            if (section, key) in found:
                wanted[variable] = between.join(found[section, key].split())
    return {name: value for name, value in wanted.items() if name not in environment}
