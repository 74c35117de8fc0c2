"""The first line of a CSV file: which columns the file has, and what is between them."""

from __future__ import annotations

import csv
import re
from typing import NamedTuple

from lakehouse.event_contract import FIELDS, NEEDED_FIELDS, OWN_ID

_SEPARATORS = (",", ";", "\t", "|")
_WORD = re.compile(r"\s*[^\W\d][^\W\d_]+([ _-][^\W\d]+)*\s*")


class Layout(NamedTuple):
    """:param columns: in the file's order, ours by our names; one without a name is empty, and is passed over.
    :param has_header: the first line is no row.
    """

    columns: tuple[str, ...]
    separator: str
    has_header: bool


def layout_of(first_line: bytes) -> Layout:
    """Columns go by their names, in any order, capitals or not. Without a header they are the nine, in our order.

    :raises ValueError: it is a header that does not name what is needed, or names a column twice.
    """
    text = first_line.decode("utf-8", errors="replace").rstrip("\r\n")
    by_separator = {separator: _fields(text, separator) for separator in _SEPARATORS}
    separator, names = max(by_separator.items(), key=lambda each: len(_known(each[1])))
    if len(_known(names)) < 2:
        _refuse_a_header_of_others(text, by_separator)
        separator = next((each for each, found in by_separator.items() if len(found) == len(FIELDS)), ",")
        return Layout(FIELDS, separator, False)
    columns = tuple(folded if (folded := _folded(name)) in _OURS else name.strip() for name in names)
    missing = [name for name in NEEDED_FIELDS if name not in columns]
    if missing:
        raise ValueError(f"its header lacks {', '.join(missing)}: {text[:200]!r}")
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise ValueError(f"its header names {', '.join(twice)} twice: {text[:200]!r}")
    return Layout(columns, separator, True)


_OURS = {*FIELDS, OWN_ID}


def _fields(text: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([text], delimiter=separator), [])
    except csv.Error:
        return text.split(separator)


def _folded(name: str) -> str:
    return name.strip().casefold().replace(" ", "_").replace("-", "_")


def _known(names: list[str]) -> set[str]:
    return _OURS & {_folded(name) for name in names}


def _refuse_a_header_of_others(text: str, by_separator: dict[str, list[str]]) -> None:
    """Words alone, where a row has numbers: taken for a row, nothing after it would be what it seems."""
    fields = max(by_separator.values(), key=len)
    if len(fields) > 3 and all(map(_WORD.fullmatch, fields)):
        raise ValueError(f"its first line is a header that names none of our columns: {text[:200]!r}")
