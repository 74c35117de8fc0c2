"""Where the `lakehouse` command begins: before it imports a package that another one in PYTHONPATH would hide."""

from __future__ import annotations

import os
import site
import sys
import sysconfig


def main() -> int:
    """Runs the command without the packages of another Python. Out: its exit code."""
    ours = [os.path.dirname(os.path.dirname(__file__)), *site.getsitepackages(), *sysconfig.get_paths().values()]  # noqa: PTH120
    others = set(os.environ.pop("PYTHONPATH", "").split(os.pathsep)) - set(ours)
    sys.path[:] = [path for path in sys.path if path not in others]
    from operate import cli

    return cli.main()
