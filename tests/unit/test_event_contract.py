"""What layers agree on about an event is written once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from lakehouse.event_contract import EVENT_TYPES, FIELDS, NEEDED_FIELDS

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("lakehouse", "bronze", "silver", "gold", "ingest", "ml", "serving", "operate", "bench")


def lists_in(source: ast.Module) -> Iterator[set[str]]:
    for node in ast.walk(source):
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            yield {each.value for each in node.elts if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def is_of_the_contract(names: set[str]) -> bool:
    """`event_time` is a name of the wire alone: tables have `event_at`."""
    return set(EVENT_TYPES) <= names or ("event_time" in names and len(names & set(FIELDS)) > 1)


def test_fields_and_types_of_an_event_are_listed_nowhere_else() -> None:
    found = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        for names in lists_in(ast.parse(path.read_text(encoding="utf-8")))
        if is_of_the_contract(names)
    }
    assert found == {"lakehouse/event_contract.py"}


def test_a_second_list_is_found() -> None:
    second = ast.parse('_A = ("event_time", "price")\ndef late():\n    return ["view", "cart", "purchase"]')
    assert [is_of_the_contract(names) for names in lists_in(second)] == [True, False]


def test_needed_fields_are_fields() -> None:
    assert set(NEEDED_FIELDS) < set(FIELDS)
