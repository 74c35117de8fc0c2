"""A small filesystem for the lake, that can be filled and freed."""

from __future__ import annotations

import errno
import subprocess
from contextlib import suppress
from pathlib import Path

_PIECE = bytes(64 * 1024)


class SmallDisk:
    """A filesystem in memory, mounted on this folder; only root can do that.

    :raises OSError: it cannot be mounted; says why.
    """

    def __init__(self, folder: Path, size_mb: int) -> None:
        self.folder = folder
        self._filler = folder / "filler"
        folder.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(errno.EPERM, f"mount: {(done.stderr or done.stdout).strip()}")

    def fill(self) -> None:
        """Takes what is free, to the last page; also what has been freed since the last call."""
        with suppress(OSError), self._filler.open("ab", buffering=0) as filler:
            while filler.write(_PIECE):
                pass

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)

    def unmount(self) -> None:
        """Also while something still has a file open there."""
        subprocess.run(["umount", "--lazy", str(self.folder)], capture_output=True, check=False)
