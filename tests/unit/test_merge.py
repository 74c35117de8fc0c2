"""Records of gold topics as the sink reads them."""

from __future__ import annotations

import itertools

import pytest

from serving.merge import Incoming, UnreadableRecord, newest_of_each_key, read_record

PLACE = ("customer-value", 0)


def test_a_row_keeps_its_text_and_its_revision() -> None:
    value = b'{"user_id":9007199254740993,"revision":3}'
    read = read_record(PLACE, 5, b"k", value, {"paid_at_us": b"17"})
    assert read == Incoming(PLACE, 5, "k", 3, value.decode(), 17)


def test_nul_is_replaced_and_a_backslash_before_u0000_is_not() -> None:
    read = read_record(PLACE, 0, b"a\x00b", rb'{"brand":"a\u0000b","code":"c\\u0000","revision":1}', {})
    assert read.key == "a\ufffdb"
    assert read.row == r'{"brand": "a\ufffdb", "code": "c\\u0000", "revision": 1}'


def test_nul_in_the_name_of_a_field_is_replaced_at_any_depth() -> None:
    read = read_record(PLACE, 0, b"k", rb'{"lines":[{"extras":{"cou\u0000pon":"B"}}],"revision":1}', {})
    assert read.row == r'{"lines": [{"extras": {"cou\ufffdpon": "B"}}], "revision": 1}'


@pytest.mark.parametrize(
    ("key", "value"),
    [(None, b'{"revision":1}'), (b"k", b"{"), (b"k", b'{"revision":"1"}'), (b"\xff", b'{"revision":1}')],
)
def test_what_is_no_row_is_refused(key: bytes | None, value: bytes) -> None:
    with pytest.raises(UnreadableRecord):
        read_record(PLACE, 0, key, value, {})


def test_the_newest_of_each_key_is_kept_in_any_order() -> None:
    def record(revision: int, row: str | None) -> Incoming:
        return Incoming(PLACE, 0, "k", revision, row)

    for records in itertools.permutations([record(1, "a"), record(3, None), record(2, "b")]):
        (newest,) = newest_of_each_key(records)
        assert (newest.revision, newest.row) == (3, None)
