"""Secrets that are made up once, each in a file that only the owner can read."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from lakehouse.whole_file import whole_file


def secret_in(path: Path) -> str:
    """What the file has. Made up the first time: letters, digits, `-` and `_`; of several processes one does it."""
    if not path.exists():
        with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}") as new:  # mode 0600
            new.write(secrets.token_urlsafe(24) + "\n")
            new.flush()
            with suppress(FileExistsError):  # another process was first
                os.link(new.name, path)  # whole, or not at all
    return path.read_text(encoding="utf-8").strip()


def write_secret(path: Path, text: str) -> None:
    """Lines that are given, in place of what was there."""
    with whole_file(path, mode=0o600) as file:
        file.write(f"{text}\n".encode())
