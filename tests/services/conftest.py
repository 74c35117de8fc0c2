"""The services that tests share, which of the tests this machine can run, and how the JVMs that they start compile.

A fixture stands here and is never imported: pytest takes it for another one in each module that imports it, and starts
its service again for each.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from playwright.sync_api import Browser, sync_playwright

from bench.audience import chromium, chromium_flags
from lakehouse.settings import Settings
from operate.java import COMPILE_QUICKLY, INTERPRET_ROWS
from operate.services.kafka import KafkaBroker
from operate.services.postgres import PostgresServer
from tests.apicurio import ApicurioRegistry
from tests.postgres_server import running
from tests.services.secure_kafka import SecureKafka
from tests.services.shared import SharedServices
from tests.services.store import running_broker

# Hyper, which reads and writes extracts, exists for few kinds of machine. Where `make setup` installs it, it is tested.
_IS_INSTALLED_BY_SETUP = (sys.platform, platform.machine()) == ("linux", "x86_64")
collect_ignore = [] if _IS_INSTALLED_BY_SETUP or find_spec("tableauhyperapi") else ["test_export.py"]


@pytest.fixture(scope="session", autouse=True)
def _java_compiles_quickly() -> Iterator[None]:
    """A JVM lives for a minute here, and asks for few rows: to compile well would take a fifth of the time."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("JAVA_TOOL_OPTIONS", f"{COMPILE_QUICKLY} {INTERPRET_ROWS}")
        yield


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServices]:
    """Of all workers, where the tests run in several: their folders lie in one."""
    own = tmp_path_factory.getbasetemp()
    shared = SharedServices((own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "services")
    with shared.used():
        yield shared


@pytest.fixture(scope="session")
def kafka_broker(services: SharedServices) -> KafkaBroker:
    """A real broker, started, without topics. Tests share it: each uses topic names of its own, see `store_in`."""
    broker = KafkaBroker(Settings(home=services.folder / "kafka", topic_partitions=2, _env_file=None))
    services.start_once("kafka", lambda: running_broker(broker))
    return broker


@pytest.fixture(scope="session")
def postgres(services: SharedServices) -> PostgresServer:
    """A real PostgreSQL, started. Tests share it: each uses a database of its own, see `database_in`."""
    server = PostgresServer(Settings(home=services.folder / "postgres", _env_file=None))
    services.start_once("postgres", lambda: running(server))
    return server


@pytest.fixture(scope="session")
def secure_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    """A real broker that wants TLS and a login, started. Tests share it: each module has a user of its own."""
    with SecureKafka(tmp_path_factory.mktemp("secure-kafka")) as kafka:
        yield kafka


@pytest.fixture(scope="session")
def schema_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApicurioRegistry]:
    """A real schema registry, started. Tests share it: each uses subjects of its own."""
    registry = ApicurioRegistry(tmp_path_factory.mktemp("registry"))
    registry.start()
    try:
        yield registry
    finally:
        registry.stop()


# Not of the whole session: its loop runs in the main thread, where other modules' tests run theirs.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser, started, without a window. Skips where there is none."""
    program = chromium()
    if not program:
        pytest.skip("there is no Chromium on the path to look at the page with")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=chromium_flags())
        yield started
        started.close()
