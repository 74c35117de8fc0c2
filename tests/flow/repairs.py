"""What an operator does to a lake: another rule, a replay of what was refused, a rebuild."""

from __future__ import annotations

from lakehouse.streams import Stop
from operate.quarantine import Replay, replay
from operate.rebuild import Outcome, rebuild
from tests.builders import purchase
from tests.flow.steps import Lake

LARGE = purchase(event_time="2019-10-01 00:00:30 UTC", user_id=2, price="4.00", note="x" * 200)
STRICT = 300
"""Bytes: smaller than LARGE, larger than the others."""


def with_rule(lake: Lake, max_value_bytes: int) -> Lake:
    """The same lake under another rule of size, which stands for a rule and its fix."""
    return Lake(lake.spark, lake.settings.model_copy(update={"max_value_bytes": max_value_bytes}), lake.topic)


def replayed(lake: Lake, rule: str | None = None, *, dry_run: bool = False) -> Replay:
    return replay(lake.spark, lake.settings, rule, dry_run, lambda _line: None, Stop())


def rebuilt(lake: Lake, layer: str = "silver", *, dry_run: bool = False) -> Outcome:
    return rebuild(layer, lake.spark, lake.settings, lake.topic, dry_run, lambda _line: None, Stop())
