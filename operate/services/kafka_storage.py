"""The broker's folder: who holds it, whose cluster it is."""

from __future__ import annotations

import base64
import fcntl
import re
import time
import uuid
from pathlib import Path

from lakehouse.errors import ServiceError


def new_cluster_id() -> str:
    """16 random bytes as Kafka writes them. The letter in front: a hyphen there would be read as an option."""
    return "L" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]


def cluster_id(data: Path) -> str:
    """The id that the storage was formatted with; empty if it was not."""
    found = re.search(r"^cluster\.id=(.+)$", text_of(data / "meta.properties"), re.M)
    return found[1] if found else ""


def wait_for_predecessor(data: Path, timeout_s: float) -> None:
    """A broker whose supervisor was killed takes a moment to stop, and holds Kafka's lock on the folder until then.

    :raises ServiceError: it is still there after `timeout_s`.
    """
    end = time.monotonic() + timeout_s
    while is_held(data / ".lock"):
        if time.monotonic() > end:
            found = f"Another Kafka broker works in {data.parent}."
            raise ServiceError(found, "one at a time", "`lakehouse down` first")
        time.sleep(0.2)


def is_held(lock: Path) -> bool:
    """Whether a process has the file locked. Java's locks are the POSIX kind, `lockf` here."""
    if not lock.is_file():
        return False
    with lock.open("r+b") as opened:
        try:
            fcntl.lockf(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def text_of(path: Path) -> str:
    """A file's text; empty if it is not there."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
