"""Which of these tests this machine can run, and how the JVMs that they start compile."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib.util import find_spec

import pytest

# Hyper, which reads and writes extracts, exists for few kinds of machine. Where `make setup` installs it, it is tested.
_IS_INSTALLED_BY_SETUP = (sys.platform, platform.machine()) == ("linux", "x86_64")
collect_ignore = [] if _IS_INSTALLED_BY_SETUP or find_spec("tableauhyperapi") else ["test_export.py"]


@pytest.fixture(scope="session", autouse=True)
def _java_compiles_quickly() -> Iterator[None]:
    """A JVM lives for a minute here: to compile its code well would take a fifth of the tests' time."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:TieredStopAtLevel=1")
        yield
