"""The numbers of a card, and how they may be written there."""

from __future__ import annotations

import re
from collections.abc import Iterable

_FORMS = ("{:,.0f}", "{:,.1f}", "{:.3f}", "{:.1%}", "{:+.1%}", "{:,.2f}")
_NUMBER = re.compile(r"[+-]?\d[\d,]*(?:\.\d+)?%?")


def numbers_in(card: str, section: str) -> set[str]:
    """Of the tables in a section."""
    text = card.split(f"## {section}\n")[1].split("\n## ")[0]
    return {number for line in text.splitlines() if line.startswith("| ") for number in _NUMBER.findall(line)}


def written(values: Iterable[float]) -> set[str]:
    return {form.format(value) for value in values for form in _FORMS}
