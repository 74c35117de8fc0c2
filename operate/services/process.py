"""Start and stop a service's process."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1


def spawn(command: list[str], log: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a service: output into `log`, in a session of its own so that Ctrl-C at the terminal does not reach it.

    Whoever starts a service decides when it stops: clients first, then the broker. On Linux the service gets SIGTERM
    when the *thread* that called this ends: call it from one that lives as long as the service, such as the main one.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    # This file as a program becomes the command by exec. The usual `preexec_fn` runs Python between fork and exec,
    # which can hang for ever in a program with threads.
    wrapped = [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]
    with log.open("ab") as output:
        return subprocess.Popen(
            wrapped,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=None if environment is None else dict(environment),
            start_new_session=True,
        )


def give_way(niceness: int) -> None:
    """To all other programs, with all that is started from here. For the leader of a session of its own."""
    os.nice(niceness)
    # Linux may share the processors among sessions first: then niceness counts within one alone.
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(niceness), encoding="ascii")


def stop(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """SIGTERM, and SIGKILL for what is still there after `timeout_s`. Nothing to do if it has ended."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def become(parent: int, command: list[str]) -> None:
    """Turn this process into `command`, which Linux ends with SIGTERM when `parent` dies, even by `kill -9`.

    Without it a killed supervisor would leave a broker that holds the port and the data folder's lock.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # survives exec
        if os.getppid() != parent:  # it died before we asked
            sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2:])
