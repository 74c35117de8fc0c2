"""Which of these tests this machine can run."""

from __future__ import annotations

import platform
import sys
from importlib.util import find_spec

# Hyper, which reads and writes extracts, exists for few kinds of machine. Where `make setup` installs it, it is tested.
_IS_INSTALLED_BY_SETUP = (sys.platform, platform.machine()) == ("linux", "x86_64")
collect_ignore = [] if _IS_INSTALLED_BY_SETUP or find_spec("tableauhyperapi") else ["test_export.py"]
