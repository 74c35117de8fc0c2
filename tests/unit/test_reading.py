"""Where bronze goes on in Kafka, whatever became of the topics meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.errors import DataLossError
from lakehouse.offsets import Held
from lakehouse.reading import Reading

T = "store-events"


def held(*partitions: tuple[int, int]) -> Held:
    """:param partitions: the first offset of each, and the one after its last."""
    first = {str(number): first for number, (first, _) in enumerate(partitions)}
    end = {str(number): end for number, (_, end) in enumerate(partitions)}
    return Held({T: first}, {T: end})


def reading(*read: int, topic_id: str = "a", **shift: int) -> Reading:
    known = {str(number): offset for number, offset in enumerate(read)}
    return Reading({T: topic_id}, {T: known}, {T: {name.removeprefix("p"): by for name, by in shift.items()}})


def test_it_goes_on_after_what_was_read_and_at_the_first_record_of_a_new_partition() -> None:
    assert reading(5, 7).start(held((0, 9), (7, 7), (3, 4)), {T: "a"}) == {T: {"0": 5, "1": 7, "2": 3}}
    assert Reading().start(held((2, 9)), {T: "a"}) == {T: {"0": 2}}


@pytest.mark.parametrize(
    ("before", "now", "topic_id", "says"),
    [
        (reading(5), held((6, 9)), "a", "expired unread"),
        (reading(5), held((0, 4)), "a", "its end was cut off"),
        (reading(5), held((0, 9)), "b", "made anew"),
        (reading(5), held((0, 5)), "b", "made anew"),
        (reading(5), held((0, 0), (0, 0)), "b", "made anew"),
        (reading(5, topic_id=""), held((0, 4)), "b", "cut off"),  # no id was known
        (reading(15, p0=10), held((6, 9)), "a", "up to offset 5, but Kafka holds 6 to 9"),
    ],
)
def test_nothing_is_skipped_in_silence(before: Reading, now: Held, topic_id: str, says: str) -> None:
    with pytest.raises(DataLossError, match=says) as refused:
        before.start(now, {T: topic_id})
    assert "lakehouse topics --accept" in str(refused.value)


@pytest.mark.parametrize(
    ("before", "ids"),
    [(reading(5), {}), (reading(5, topic_id=""), {T: "b"}), (reading(5), {T: "a"})],
    ids=["broker without ids", "note of before", "same"],
)
def test_without_two_ids_that_differ_the_offsets_alone_decide(before: Reading, ids: dict[str, str]) -> None:
    assert before.start(held((0, 9)), ids) == {T: {"0": 5}}
    assert before.named({T: "b"}).topic_ids == {T: before.topic_ids[T] or "b"}


def test_of_expired_records_the_first_that_is_there_comes_next_with_its_own_offset() -> None:
    after = reading(5, 7).accepted(held((8, 9), (0, 9)), {T: "a"})
    assert after == reading(8, 7)


def test_a_new_life_follows_what_was_read_of_the_one_before() -> None:
    now = held((0, 3), (2, 4), (0, 6))
    after = reading(5, 7).accepted(now, {T: "b"})
    assert after.start(now, {T: "b"}) == {T: {"0": 0, "1": 2, "2": 0}}
    assert after.up_to(now.end).read == {T: {"0": 5 + 3, "1": 7 + 2, "2": 6}}
    assert after.up_to(now.end).in_kafka(T) == now.end[T]


def test_a_partition_that_a_life_lacks_goes_on_where_it_was_in_the_next_that_has_it() -> None:
    first = reading(5, 7)
    second = first.accepted(held((0, 3)), {T: "b"}).up_to({T: {"0": 3}})
    assert second.start(held((0, 3)), {T: "b"}) == {T: {"0": 3}}
    third = second.accepted(held((0, 1), (0, 2)), {T: "c"}).up_to({T: {"0": 1, "1": 2}})
    assert third.read == {T: {"0": 5 + 3 + 1, "1": 7 + 2}}


def test_a_topic_that_is_read_no_more_is_known_when_it_is_read_again() -> None:
    other = Held({"other": {"0": 0}}, {"other": {"0": 4}})
    renamed = reading(5).up_to({"other": {"0": 4}})
    assert renamed.start(other, {"other": "x"}) == {"other": {"0": 4}}
    assert renamed.start(held((0, 9)), {T: "a"}) == {T: {"0": 5}}


def test_a_note_of_before_has_its_positions_alone() -> None:
    note = {"position": {T: {"0": {"from": 2, "to": 5, "rows": 3}}}}
    assert Reading.of_note(note) == Reading(read={T: {"0": 5}})
    assert Reading.of_note({}) == Reading()


lives = st.lists(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=3), min_size=1, max_size=6
)


@given(lives)
def test_no_two_records_of_any_lives_have_one_place(spans: list[list[tuple[int, int]]]) -> None:
    """Each life has some partitions, which begin anywhere and have some records; all are read, then comes the next."""
    known, places = Reading(), list[Any]()

    def records(life: Held) -> Iterator[tuple[str, int]]:
        for partition, first in life.first[T].items():
            for offset in range(first, life.end[T][partition]):
                yield partition, offset + known.shift_of(T, partition)

    for number, life in enumerate(spans):
        now, ids = held(*((first, first + count) for first, count in life)), {T: f"life {number}"}
        if known.lost(now, ids):
            known = known.accepted(now, ids)
        begin = known.start(now, ids)
        known = known.named(ids).up_to(begin)
        assert begin[T] == now.first[T]  # all of the new life is read
        places += records(now)
        known = Reading.of_note({"topics": known.up_to(now.end).as_note()})
    assert len(places) == len(set(places))
