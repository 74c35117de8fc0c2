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
            "spark.driver.extraJavaOptions": "-XX:+UseSerialGC",
            "spark.local.dir": str(folder / "local"),
            "spark.sql.warehouse.dir": str(folder / "warehouse"),
        },
    )
    yield session
    session.stop()
