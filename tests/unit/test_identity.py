"""The ids that are written out are those of the rule in plain Python."""

from __future__ import annotations

import hashlib

import pytest

from tests.identity_by_hand import GOLDEN, Golden, id_of, json_of


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.name)
def test_an_event_has_the_id_that_is_written_here(golden: Golden) -> None:
    assert id_of(json_of(golden)) == golden.event_id


def test_spelling_makes_no_difference_and_content_does() -> None:
    by_id: dict[str, set[str]] = {}
    for golden in GOLDEN:
        by_id.setdefault(golden.event_id, set()).add(golden.name)
    shared = {frozenset(names) for names in by_id.values() if len(names) > 1 and "price 5.1" not in names}
    assert shared == {
        frozenset({"price zero", "price minus zero"}),
        frozenset({"brand null", "brand missing"}),
        frozenset({"composed letters", "the same letters decomposed"}),
        frozenset({"Korean, composed", "Korean, decomposed"}),
    }
    assert len(by_id[GOLDEN[0].event_id]) == 19


def test_a_missing_value_has_an_id_too() -> None:
    assert id_of(b"{}") == hashlib.sha256(b"---------").hexdigest()[:32]
