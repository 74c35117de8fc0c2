"""What tests share: one Spark session, and settings that know nothing of the machine they run on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from lakehouse.session import build_session
from lakehouse.settings import PREFIX, Settings
from operate.services import ports


@pytest.fixture(scope="session", autouse=True)
def _no_outside_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No variable of the developer's shell counts, and no `.env`, which is read from the working folder."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in list(os.environ):
            if name.upper().startswith(PREFIX):
                monkeypatch.delenv(name)
        monkeypatch.chdir(tmp_path_factory.mktemp("work"))
        yield


@pytest.fixture(autouse=True)
def _folder_of_its_own(_no_outside_settings: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _no_snapshots_of_other_tests() -> Iterator[None]:
    """Delta keeps the newest snapshot of each table, a plan with all its rules and the session that it was made in, for
    an hour: those of hundreds of lakes fill the JVM that all tests share.
    """
    yield
    session = SparkSession.getActiveSession()
    if session is not None and session.sparkContext._jvm is not None:
        session.sparkContext._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()


@pytest.fixture(scope="module", autouse=True)
def _no_frames_of_other_modules() -> Iterator[None]:
    yield
    session = SparkSession.getActiveSession()
    if session is not None:
        session.catalog.clearCache()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """All defaults, in a home of this test's own."""
    return Settings(home=tmp_path / "home")


@pytest.fixture(scope="session")
def spark(_no_outside_settings: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The session that the jobs get too, on two cores. What Spark itself writes goes into a temporary folder."""
    folder = tmp_path_factory.mktemp("spark")
    session = build_session(
        "storefront tests",
        Settings(home=folder / "home", master="local[2]", driver_memory_mb=2048),
        extra={
            "spark.ui.enabled": "false",
            "spark.local.dir": str(folder / "local"),
            "spark.sql.warehouse.dir": str(folder / "warehouse"),
        },
    )
    yield session
    session.stop()


# Below: what holds where the tests run in several processes, workers, side by side: `-n 2 --dist loadgroup`.

_ONE_FOR_ALL = ("spark", "secure_kafka", "registry")
"""Fixtures that a run has once: all tests that use one of them are in one worker."""

_BEGIN_FIRST = ()
"""Modules that take long: begun last, one of them would keep one worker busy while the other has nothing left."""


def pytest_configure() -> None:
    """No two workers choose the same port."""
    if _is_worker():
        number, count = int(os.environ["PYTEST_XDIST_WORKER"][2:]), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        share = len(ports.RANGE) // count
        first = ports.RANGE.start + number * share
        os.environ[ports.SHARE] = f"{first}-{first + share - 1}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a module, and those that use a fixture of which there is one for all, are in one group, so in one
    worker.
    """
    if not _is_worker():
        return
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_shared_by(item) or item.path.stem))
    items.sort(key=_when)


def _shared_by(item: pytest.Item) -> str | None:
    """The fixture that puts the test into a group of more than its module."""
    return next((name for name in _ONE_FOR_ALL if name in getattr(item, "fixturenames", ())), None)


def _when(item: pytest.Item) -> int:
    """Place in the order of the groups."""
    first = (*_ONE_FOR_ALL[:1], *_BEGIN_FIRST)
    name = _shared_by(item) or item.path.stem
    return first.index(name) if name in first else len(first)


def _is_worker() -> bool:
    return "PYTEST_XDIST_WORKER" in os.environ
