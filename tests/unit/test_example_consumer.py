"""The example of a reader keeps the highest revision, whatever comes twice or out of order."""

from __future__ import annotations

import itertools
import json

import pytest

from serving.example_consumer import newest, take


def row(revision: int) -> tuple[bytes, bytes | None, dict[str, bytes]]:
    return b"k", json.dumps({"user_id": 1, "revision": revision}).encode(), {}


RECORDS = [row(1), row(2), (b"k", None, {"revision": b"3"}), row(2)]


@pytest.mark.parametrize("records", list(itertools.permutations(RECORDS)))
def test_the_highest_revision_stays(records: list[tuple]) -> None:
    newest.clear()
    for record in records:
        take(*record)
    assert newest == {b"k": (3, None)}
    take(*row(4))
    assert newest[b"k"] == (4, {"user_id": 1, "revision": 4})
