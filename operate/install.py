"""Set everything up in `.venv`: Python packages, Java, the JVM's jars, Spark's configuration. `make setup` runs it.

`--for test` adds what the tests and the linters need; `--for run`, all that the lakehouse itself needs, is the default.
Silent and quick when nothing has changed; after a failure or Ctrl-C, run again and it goes on. Any Python can read this
file, so that a wrong one gets a clear answer; the work is in setup_steps.py.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ((3, 13), (3, 12), (3, 11))
AGAIN = "Next: mend that and run `make setup` again; it goes on where it stopped."


def main() -> int:
    if sys.argv[1:] not in ([], ["--for", "run"], ["--for", "test"]):
        print(f"setup: {sys.argv[1:]} is not understood. Expected: nothing, --for run or --for test", file=sys.stderr)
        return 2
    problem = use_suitable_python() or place_problem()
    if problem:
        print(f"setup: {problem}", file=sys.stderr)
        return 1
    sys.path[0] = str(ROOT)  # started as a file: import from the checkout, not from this folder
    from operate.setup_steps import Setup

    setup = Setup(ROOT, *sys.argv[2:])
    if setup.is_done():
        return 0
    setup.venv.mkdir(exist_ok=True)
    with setup.lock_file.open("w") as lock:
        try:
            wait_for(lock.fileno())
            return 0 if setup.is_done() else work(setup, lock.fileno())
        except KeyboardInterrupt:
            print("\nsetup: stopped; run `make setup` again to go on.", file=sys.stderr)
            return 130


def work(setup: Setup, lock: int) -> int:  # type: ignore[name-defined]  # noqa: F821 (imported once Python is known to fit)
    """All steps in order; on a failure, the end of the log and what to do."""
    from lakehouse.errors import LakehouseError
    from operate.progress import StepError, tail

    print("Setting up (about a minute the first time; what the commands say is in .venv/install.log)", flush=True)
    setup.log.write_bytes(b"")
    setup.jars_log.write_bytes(b"")
    try:
        setup.run_all(lock)
    except StepError as error:
        print(f"\nsetup: {error}. The last lines of {error.log}:\n{tail(error.log)}\n{AGAIN}", file=sys.stderr)
        return 1
    except LakehouseError as error:
        print(f"\nsetup: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"\nsetup: {error}\n{AGAIN}", file=sys.stderr)
        return 1
    return 0


def use_suitable_python() -> str:
    """Start again under a Python that fits, where there is one on the path; else what is wrong."""
    if sys.version_info[:2] not in PYTHONS:
        for major, minor in PYTHONS:
            other = shutil.which(f"python{major}.{minor}")
            if other:
                os.execv(other, [other, *sys.argv])
        version = sys.version.split()[0]
        return f"Python {version} cannot be used. Install 3.11, 3.12 or 3.13 (make setup PYTHON=path/to/it)."
    if not importlib.util.find_spec("ensurepip") or not importlib.util.find_spec("venv"):
        package = f"python3.{sys.version_info[1]}-venv"
        return f"{sys.executable} cannot make virtual environments. On Debian and Ubuntu: apt install {package}"
    return ""


def place_problem() -> str:
    if any(sign in str(ROOT) for sign in " \t:\"'$`\\"):
        return f"Spark cannot start from {ROOT}: its scripts do not bear a space or such a sign there. Move it."
    return "" if os.access(ROOT, os.W_OK) else f"{ROOT} cannot be written by this user."


def wait_for(lock: int) -> None:
    """Only one setup in a checkout at a time."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another setup is running here; waiting for it.", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


if __name__ == "__main__":
    sys.exit(main())
