"""Ports of a run's own."""

from __future__ import annotations

import pytest

from operate.services import ports


def some_ports() -> list[int]:
    return [ports.free_port(set()) for _ in range(50)]


def test_who_is_given_a_part_of_the_range_chooses_from_that_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ports.SHARE, "31000-31299")
    assert all(31_000 <= port <= 31_299 for port in some_ports())
    monkeypatch.delenv(ports.SHARE)
    assert any(not 31_000 <= port <= 31_299 for port in some_ports())
