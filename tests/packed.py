"""Packed files for tests."""

from __future__ import annotations

import io
import zipfile


def zipped(suffix: str = ".csv", **files: bytes) -> bytes:
    """A zip of files by name."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name + suffix, content)
    return out.getvalue()
