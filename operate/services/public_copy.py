"""As root: programs that another account has to run, from a place that every account may enter."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

PLACE = Path("/var/cache/storefront-lakehouse")
"""Root's own. What is here holds no data, and may be removed while nothing runs."""


def enterable(folder: Path, parts: Sequence[Path], name: str) -> Path:
    """A folder of programs, or the same folder in a copy of all their parts that others may enter.

    :param parts: folders side by side, in one of which the folder is: the programs find their libraries by that.
    :param name: of the copy; another version has another.
    :raises OSError: no copy can be made.
    """
    if all(parent.stat().st_mode & 0o001 for parent in (folder, *folder.parents)):
        return folder
    beside, copy = parts[0].parent, PLACE / name
    if not copy.is_dir():
        PLACE.mkdir(parents=True, exist_ok=True)
        PLACE.chmod(0o755)
        unfinished = PLACE / f".{name}.{os.getpid()}"
        for part in parts:
            shutil.copytree(part, unfinished / part.name, symlinks=True)
        _open_to_all(unfinished)
        unfinished.rename(copy)
    return copy / folder.relative_to(beside)


def _open_to_all(folder: Path) -> None:
    folder.chmod(0o755)
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
