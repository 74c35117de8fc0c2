"""Services that all tests of a run use, also where the tests run in several processes side by side."""

from __future__ import annotations

import fcntl
import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path


class SharedServices:
    """Who needs a service first starts it, and stops it at the end once nobody else uses one.

    :param folder: the same in all processes of a run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._ours = folder, ExitStack()
        folder.mkdir(exist_ok=True)

    def start_once(self, name: str, started: Callable[[], AbstractContextManager[object]]) -> None:
        """:param started: the service, running while its block does."""
        with (self.folder / f"{name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            mark = self.folder / f"{name}.started"
            if not mark.exists():
                self._ours.enter_context(started())
                mark.touch()
                self._ours.callback(mark.unlink)

    @contextmanager
    def used(self) -> Iterator[None]:
        """The kernel takes the lock back from a process that was killed: nobody waits for one."""
        with (self.folder / "used").open("a") as users:
            fcntl.flock(users, fcntl.LOCK_SH)
            try:
                yield
            finally:
                gc.collect()  # a client that nobody holds any more would complain of the broker's end
                # While it waits it is no user any more: two that have started one each do not wait for each other.
                fcntl.flock(users, fcntl.LOCK_EX)
                self._ours.close()
