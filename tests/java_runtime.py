"""A Java runtime that is a script: it says its version, and what it was called with."""

from __future__ import annotations

from pathlib import Path


def runtime(home: Path, version: str, *, release: bool = True, released: str = "2026-10-20") -> Path:
    """A JAVA_HOME whose `java` prints its version, with its day, and its arguments."""
    (home / "bin").mkdir(parents=True)
    script = home / "bin" / "java"
    said = f'openjdk version "{version}" {released} LTS'
    script.write_text(f"#!/bin/sh\necho '{said}' >&2\necho \"$JAVA_TOOL_OPTIONS|$*\"\n")

    script.chmod(0o755)
    if release:
        (home / "release").write_text(f'IMPLEMENTOR="Test"\nJAVA_VERSION="{version}"\nOS_NAME="Linux"\n')
    return home
