"""`make test`: the tests of services run beside all others, each half in a process of its own.

    python -m tests [arguments of pytest]

Both wait a great deal, for processes to start and for Spark to plan. What the services' half says is shown at its end.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from contextlib import suppress

_HALVES = (("tests/unit", "tests/spark", "tests/flow"), ("tests/services",))
_PASSED, _NONE_CHOSEN = 0, 5
"""Exit codes of pytest."""


def main(arguments: list[str]) -> int:
    """Out: 0 if all passed; of the first half that failed its code, or that none was chosen."""
    with tempfile.TemporaryFile() as said:
        outputs = (None, said)
        running = [
            subprocess.Popen(
                [sys.executable, "-m", "pytest", "-o", f"cache_dir=.pytest_cache/{number}", *half, *arguments],
                stdout=output,
                stderr=output and subprocess.STDOUT,
            )
            for number, (half, output) in enumerate(zip(_HALVES, outputs, strict=True))
        ]
        codes = [_ended(each) for each in running]
        said.seek(0)
        sys.stdout.write(said.read().decode(errors="replace"))
    if set(codes) == {_NONE_CHOSEN}:
        return _NONE_CHOSEN
    return next((code for code in codes if code not in (_PASSED, _NONE_CHOSEN)), _PASSED)


def _ended(half: subprocess.Popen[bytes]) -> int:
    """Ctrl-C reaches both halves: each ends what it has started."""
    while True:
        with suppress(KeyboardInterrupt):
            return half.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
