"""The champion of a registered model, as scoring uses it: looked up between rounds, loaded once per version."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from lakehouse.errors import LakehouseError
from ml.tracking.runs import Runs
from ml.tracking.score_state import AWAY, FAILED, IN_FORCE, NO_CHAMPION, ScoreState

M = TypeVar("M")

_AGAIN_S = 300.0
"""A version that has failed is tried again so long after."""


class ScoreError(LakehouseError):
    """A model has failed on rows. The scores that there are stay."""


@dataclass(frozen=True)
class Champion(Generic[M]):
    name: str
    version: int
    model: M


class InForce(Generic[M]):
    """:param load: a version -> its model; whatever it raises, the version has failed.
    :param clock_s: seconds, whatever since.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[ModelVersion], M],
        runs: Runs,
        state: ScoreState,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._load, self._runs, self._state, self._clock_s = name, load, runs, state, clock_s
        # In the next round the registry is asked again: to try for minutes, as MLflow does, would hold up the scores.
        for name, value in (("MAX_RETRIES", "1"), ("TIMEOUT", "10")):
            os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{name}", value)
        self._loaded: Champion[M] | None = None
        self._failed: int | None = None
        self._again_at_s = 0.0

    def is_there(self) -> bool:
        """Does the registry know a champion? The state says if it does not."""
        return self._ask()[1] is not None

    def look_up(self) -> Champion[M] | None:
        """The champion of now. While the registry cannot be asked, the one that is loaded. None: there is none that can
        be used; the state says why.
        """
        has_answered, version = self._ask()
        if not has_answered:
            return self._loaded
        if version is None:
            self._loaded = self._failed = None
            return None
        number = int(version.version)
        if number == self._failed and self._clock_s() < self._again_at_s:
            return None
        if self._loaded is None or self._loaded.version != number:
            try:
                self._loaded = Champion(self._name, number, self._load(version))
            except Exception as error:
                self._fail(number, error)
                return None
        if self._failed is None:
            self._state.tell(self._name, IN_FORCE, number)
        return self._loaded

    @contextmanager
    def used(self) -> Iterator[None]:
        """The block scores with the champion. When that fails on rows, it is said, and not tried again for a while."""
        try:
            yield
        except ScoreError as error:
            assert self._loaded is not None
            self._fail(self._loaded.version, error)
            return
        if self._failed is not None and self._loaded is not None:
            self._failed = None
            self._state.tell(self._name, IN_FORCE, self._loaded.version)

    def _ask(self) -> tuple[bool, ModelVersion | None]:
        """Out: has the registry answered, and the version in force, if there is one."""
        try:
            version = self._runs.champion(self._name)
        except (MlflowException, OSError) as error:
            loaded = None if self._loaded is None else self._loaded.version
            self._state.tell(self._name, AWAY, loaded, _first_line(error))
            return False, None
        if version is None:
            self._state.tell(self._name, NO_CHAMPION)
        return True, version

    def _fail(self, version: int, error: Exception) -> None:
        self._loaded, self._failed = None, version
        self._again_at_s = self._clock_s() + _AGAIN_S
        self._state.tell(self._name, FAILED, version, _first_line(error))


@contextmanager
def asking(champion: Champion[M]) -> Iterator[None]:
    """The block asks a model about rows.

    :raises ScoreError: whatever goes wrong there.
    """
    try:
        yield
    except Exception as error:
        raise ScoreError(f"{champion.name} version {champion.version} has failed on rows: {error!r}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0]
