"""What tests share: one Spark session, and settings that know nothing of the machine they run on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from lakehouse.session import build_session
from lakehouse.settings import PREFIX, Settings
from operate.services import ports


@pytest.fixture(scope="session", autouse=True)
def _files_of_our_own() -> Iterator[None]:
    """As programs of ours have it (lakehouse.home)."""
    before = os.umask(0o077)
    yield
    os.umask(before)


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


@pytest.fixture(scope="session")
def _delta_log(spark: SparkSession) -> Any:
    """Delta's class of this name. To find it takes a call to the JVM for each part of its name."""
    assert spark.sparkContext._jvm is not None
    return spark.sparkContext._jvm.org.apache.spark.sql.delta.DeltaLog


@pytest.fixture(autouse=True)
def _no_snapshots_of_other_tests(request: pytest.FixtureRequest) -> Iterator[None]:
    """Delta keeps the newest snapshot of each table, a plan with all its rules and the session that it was made in, for
    an hour: those of hundreds of lakes fill the JVM that all tests share.
    """
    delta_log = request.getfixturevalue("_delta_log") if "spark" in request.fixturenames else None
    yield
    if delta_log is not None:
        delta_log.clearCache()


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
            # Planning and short jobs: interpreted rows are there sooner than compiled ones.
            "spark.sql.codegen.wholeStage": "false",
            "spark.sql.codegen.factoryMode": "NO_CODEGEN",
            "spark.local.dir": str(folder / "local"),
            "spark.sql.warehouse.dir": str(folder / "warehouse"),
        },
    )
    yield session
    session.stop()


# Below: what holds where the tests run in several processes, workers, side by side: `-n 2 --dist loadscope`.

_SERVICES = "tests/services/test_"
_FLOW = "tests/flow/test_"
_IN_ONE_WORKER = {
    # Before the other half, which has the rest of flow.
    "spark: models and rebuilds": (
        *(f"{_FLOW}{name}.py" for name in ("drift", "rebuild", "scores", "training", "training_intent")),
        f"{_SERVICES}scores.py",
    ),
    "spark": (
        *("tests/spark/", "tests/flow/"),
        *(f"{_SERVICES}{name}.py" for name in ("rebuild_readers", "topic_lives")),
    ),
    "secure_kafka": tuple(f"{_SERVICES}{name}.py" for name in ("connect", "secure_kafka")),
    "schema_registry": tuple(f"{_SERVICES}{name}.py" for name in ("avro", "registry")),
}
"""Group -> its files. What stands before the colon is the fixture that there is once for the tests of a group; of Spark
there are two, one for each half of what uses it, for it keeps one core busy.
"""

_BEGIN_FIRST = (
    "spark",
    "spark: models and rebuilds",
    *(f"{_SERVICES}{name}.py" for name in ("compose", "one_lake", "demo", "live_figures")),
    "secure_kafka",
    *(f"{_SERVICES}{name}.py" for name in ("sink", "live_page", "file_source")),
)
"""Groups that take long: begun last, one of them would keep one worker busy while the other has nothing left."""


def _group_of(node_id: str) -> str:
    """The tests of a group run in one worker: those of a file, and those that use a fixture of which there is one."""
    path = node_id.split("::")[0]
    return next((name for name, paths in _IN_ONE_WORKER.items() if path.startswith(paths)), path)


def pytest_configure() -> None:
    """No two workers choose the same port."""
    if _is_worker():
        number, count = int(os.environ["PYTEST_XDIST_WORKER"][2:]), int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        share = len(ports.RANGE) // count
        first = ports.RANGE.start + number * share
        os.environ[ports.SHARE] = f"{first}-{first + share - 1}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long is first."""
    for item in items:
        for name in {group.split(":")[0] for group in _IN_ONE_WORKER} & set(getattr(item, "fixturenames", ())):
            if _group_of(item.nodeid).split(":")[0] != name:
                raise pytest.UsageError(f"{item.nodeid} uses {name}: its file belongs into _IN_ONE_WORKER.")
    if _is_worker():
        order = {group: number for number, group in enumerate(_BEGIN_FIRST)}
        items.sort(key=lambda item: order.get(_group_of(item.nodeid), len(order)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """By our groups. Not by the mark `xdist_group`: xdist 3.8 does not see it under pytest 9.2
    (pytest-dev/pytest-xdist#1386).
    """
    if config.getoption("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Grouped(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group_of(nodeid)

    return Grouped(config, log)


def _is_worker() -> bool:
    return "PYTEST_XDIST_WORKER" in os.environ
