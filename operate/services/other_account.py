"""As root: a program that runs as an account of its own, in a folder that is that account's, without a right of root's.

The way to the folder may lead through root's own, which are closed to others: root goes there first and then becomes
the account; what the program opens through its working folder (`HERE`) asks for no way.
"""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import random
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

HERE = "/proc/self/cwd"

IDS = range(60_578, 61_184)
"""Of no account: by systemd's list, between those of people and those that it makes up for services. Below 65,536, so
that containers have them.
"""

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


def id_for(folder: Path) -> int:
    """Whose the folder is, if that is an id of ours; else one that nobody has.

    :raises LookupError: there is none.
    """
    with suppress(FileNotFoundError):
        if folder.stat().st_uid in IDS:
            return folder.stat().st_uid
    running = set(_ids_of_processes())
    for number in random.sample(IDS, len(IDS)):
        if number not in running and not _is_known(number):
            return number
    raise LookupError("no id of an account is free")


def hand_over(folder: Path, number: int) -> None:
    """The folder with all that is in it is that account's. Links are not followed."""
    os.chown(folder, number, number)
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(place) / name, number, number, follow_symlinks=False)


def command_as(number: int, folder: Path, command: list[str]) -> list[str]:
    """The command, as that account in that folder. It ends by SIGINT when who starts it does."""
    return [sys.executable, "-I", "-S", __file__, str(number), str(folder), *command]


def become(number: int, folder: str, command: list[str]) -> None:
    """Turns this process into the command."""
    os.chdir(folder)
    os.setgroups([])
    os.setresgid(number, number, number)
    os.setresuid(number, number, number)  # takes all of root's capabilities
    process = ctypes.CDLL(None)
    process.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)  # nor does any program that it starts get one back
    process.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)  # which a change of account takes back
    os.execv(command[0], command)


def _ids_of_processes() -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            yield process.stat().st_uid


def _is_known(number: int) -> bool:
    for look_up in (pwd.getpwuid, grp.getgrgid):
        with suppress(KeyError):
            look_up(number)
            return True
    return False


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
