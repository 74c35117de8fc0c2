"""What a training hands on, of whatever model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import pandas as pd

from ml.tracking.promotion import Decision

Say = Callable[[str], None]


class Judged(Protocol):
    """A model with what the holdout says of it: `metrics` by name; `scores`, a table for people; `warnings`, what a
    reader must know.
    """

    @property
    def metrics(self) -> Mapping[str, float]: ...

    @property
    def scores(self) -> pd.DataFrame: ...

    @property
    def warnings(self) -> tuple[str, ...]: ...


T = TypeVar("T", bound=Judged)


@dataclass(frozen=True)
class Trained(Generic[T]):
    """:param version: of the registered model."""

    model: str
    run_id: str
    version: str
    training: T
    decision: Decision
