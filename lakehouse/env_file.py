"""The file `.env`, before pydantic reads it: that it is text, which names it sets, and whose it is."""

from __future__ import annotations

import codecs
import logging
import os
import pwd
import stat
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

from lakehouse.errors import SettingError

log = logging.getLogger("lakehouse")

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


def refuse_others(path: Path, holds_secrets: bool) -> None:
    """`.env` of the folder that we stand in says where data is, and whom to connect to. Nothing where it is not there.

    :param holds_secrets: then it is said when others may read it.
    :raises SettingError: it is another account's, or others may write it.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    # Where each account has a group of its own, files are often for the group to write too.
    others = stat.S_IRWXO if found.st_gid == _own_group() else stat.S_IRWXG | stat.S_IRWXO
    if found.st_uid not in (os.geteuid(), 0):
        raise SettingError(
            f"{path.absolute()} belongs to another account (user id {found.st_uid}).",
            "a file of this account, or of root: it decides what runs and where data goes",
            "go to a folder of your own; or, if you have read it and trust it, make it yours with chown",
        )
    if found.st_mode & others & (stat.S_IWGRP | stat.S_IWOTH):
        raise SettingError(
            f"{path.absolute()} can be written by other accounts.", "a file for its owner alone", f"chmod 600 {path}"
        )
    if holds_secrets and found.st_mode & others & (stat.S_IRGRP | stat.S_IROTH):
        log.warning("%s holds secrets, and other accounts can read it. Next: chmod 600 %s", path.absolute(), path)


def _own_group() -> int | None:
    try:
        return pwd.getpwuid(os.geteuid()).pw_gid
    except KeyError:  # in a container a user id may have no account
        return None
