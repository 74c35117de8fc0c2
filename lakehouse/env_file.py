"""The file `.env`, before pydantic reads it: that it is text, and which names it sets."""

from __future__ import annotations

import codecs
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

from lakehouse.errors import SettingError

ENCODING = "utf-8-sig"
"""UTF-8, with the mark of its beginning or without."""

_BOMS = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16"}
_BOMS |= {codecs.BOM_UTF16_BE: "UTF-16"}


def names_in(path: Path) -> list[str]:
    """The variables that the file sets; none if it is not there.

    :raises SettingError: it cannot be read, or is in another encoding.
    """
    if not path.is_file():
        return []
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror}.", "a file that this user may read") from None
    try:
        text = raw.decode(ENCODING)
        found = "UTF-16 without its mark" if "\0" in text else ""
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        marked = next((name for bom, name in _BOMS.items() if raw.startswith(bom)), "")
        found = marked or f"Latin-1 or the like: line {line} is not UTF-8"
    if found:
        raise SettingError(f"{path} is in another encoding ({found}).", "UTF-8", "save it as UTF-8")
    return list(dotenv_values(stream=StringIO(text)))
