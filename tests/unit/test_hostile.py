"""The parts of `make hostile` that need no stack: what it throws is what it says, and the same for the same seed."""

from __future__ import annotations

import random
from pathlib import Path

from ingest.csv_rows import open_csv
from lakehouse.errors import InputError
from silver.rejects import RULES
from tests.hostile.files import dropped
from tests.hostile.records import thrown


def test_a_seed_throws_the_same_again_and_each_bad_record_breaks_a_rule_that_there_is() -> None:
    one, other = ([thrown(draw, number) for number in range(2000)] for draw in (random.Random(1), random.Random(1)))
    assert one == other
    known = {rule.name for rule in RULES}
    broken = {each.rule for each in one if each.rule is not None}
    # The file source's own, those of Avro, one that takes a setting, and one that takes two records are not thrown.
    not_thrown = {"unreadable", "unknown_schema", "no_registry", "unreadable_avro", "event_time_before_store"}
    assert known - broken == not_thrown


def test_a_good_file_has_its_rows_and_a_bad_one_is_refused_as_a_file(tmp_path: Path) -> None:
    draw, refused = random.Random(1), 0
    for file in (dropped(draw, number) for number in range(300)):
        path = tmp_path / file.name
        path.write_bytes(file.content)
        try:
            with open_csv(path) as opened:
                rows = list(opened.rows())
        except InputError:
            refused += 1
            assert file.sessions is None, file.name
        else:
            assert file.sessions is not None and len(rows) == len(file.sessions), file.name
    assert refused > 50
