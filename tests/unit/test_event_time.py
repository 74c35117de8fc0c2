"""The time of an event as files have it."""

from __future__ import annotations

import pytest

from ingest.event_time import read_time, utc_day
from tests.event_times import AT_24, LEAP_SECONDS, READABLE, UNREADABLE


@pytest.mark.parametrize("text", READABLE)
def test_a_time_that_others_write_is_read(text: str) -> None:
    assert read_time(f" {text}\n") == READABLE[text]
    assert utc_day(text.encode()) == "2019-10-05"


@pytest.mark.parametrize("text", [*UNREADABLE, *AT_24, *LEAP_SECONDS])
def test_what_is_no_time_is_none(text: str) -> None:
    assert read_time(text) is None
