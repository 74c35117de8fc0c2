"""From when on a row that is not served yet, or not written, breaks a promise."""

from __future__ import annotations

import pytest

from operate.audit import unserved_late_before_s
from operate.behind import LATE_S, STARTING_S

NOW_S = 1_000_000.0
LONG_AGO_S = NOW_S - STARTING_S - LATE_S - 1


@pytest.mark.parametrize(
    ("began_s", "is_through", "wanted_s"),
    [
        (None, False, 0.0),  # a worker that was ended left rows to be published: the next start does it
        (None, True, NOW_S - LATE_S),
        (NOW_S - 1, False, 0.0),
        (LONG_AGO_S, False, NOW_S - LATE_S),
        (LONG_AGO_S, True, NOW_S - LATE_S),
    ],
)
def test_nothing_is_late_where_nothing_runs_or_all_has_just_started(
    began_s: float | None, is_through: bool, wanted_s: float
) -> None:
    assert unserved_late_before_s(NOW_S, began_s, is_through) == wanted_s
