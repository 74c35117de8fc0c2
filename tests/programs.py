"""Programs that run beside a test: ports for them, small ones, and waiting for them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lakehouse.settings import Settings
from operate.services.ports import free_port

HOLDER = """
import sys
from pathlib import Path
from lakehouse.locks import hold
with hold(Path(sys.argv[1]), "the writer"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process_holding(path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.kill()


def free_ports(count: int) -> list[int]:
    """So many free ports, no two the same."""
    found: list[int] = []
    while len(found) < count:
        found.append(free_port(set(found)))
    return found


def pid_of(settings: Settings) -> int:
    """Of the program called `small`, as its supervisor has noted it."""
    return int(json.loads((settings.home / "run" / "processes.json").read_text())["small"][0])


def wait_until(is_so: Callable[[], bool], timeout_s: float = 60.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < end_s
        time.sleep(0.02)
