"""How a measurement that is started by hand ends."""

from __future__ import annotations

from collections.abc import Callable

from bench.latency import say_on_stderr
from lakehouse.errors import LakehouseError


def exit_code(measure: Callable[[], int]) -> int:
    """The measurement's own code; 1 when it failed, which is said; 130 after Ctrl-C."""
    try:
        return measure()
    except LakehouseError as error:
        say_on_stderr(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
