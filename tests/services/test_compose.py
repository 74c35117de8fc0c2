"""Services of docker-compose.yml by their own command lines, against real programs; see compose_natively.py."""

from __future__ import annotations

import json
import secrets
import time
import urllib.error
import urllib.request
from pathlib import Path

import psycopg
import pytest

from operate.env_file import SECRETS, env_lines
from tests.compose import values_of
from tests.services.compose_natively import Natively, natively

VALUES = values_of(env_lines(secrets.token_urlsafe))


def network() -> tuple[int, int]:
    return 16 + secrets.randbelow(200), secrets.randbelow(256)


def connect(services: Natively, role: str, database: str, secret: str) -> psycopg.Connection:
    where = f"host={services.addresses['postgres']} dbname={database} user={role} password={VALUES[secret]}"
    return psycopg.connect(where, autocommit=True)


def assert_no_secret_is_seen(services: Natively) -> None:
    seen = services.seen()
    assert "kafka.Kafka" in seen and "started" in seen.lower()
    assert [name for name in SECRETS if VALUES[name] in seen] == []


def test_what_needs_no_spark_is_well_by_its_own_health_checks(tmp_path: Path) -> None:
    """Half a minute: both start from nothing, and health checks are processes."""
    with natively(tmp_path, VALUES, network()) as services:
        services.up(["kafka", "topics", "postgres", "sink", "page"])
        page = f"http://{services.addresses['page']}:8050/state"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(page, timeout=10)
        who = {"Authorization": f"Bearer {VALUES['STOREFRONT_PAGE_TOKEN']}"}
        assert "is_well" in json.load(urllib.request.urlopen(urllib.request.Request(page, headers=who), timeout=10))
        assert_no_secret_is_seen(services)

        with connect(services, "bi", "storefront", "STOREFRONT_BI_PASSWORD") as reader:
            assert reader.execute("SELECT count(*) FROM gold.product_sales").fetchone() == (0,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute("DELETE FROM gold.product_sales")
        for role, secret in (("registry", "STOREFRONT_REGISTRY_PASSWORD"), ("mlflow", "STOREFRONT_MLFLOW_DB_PASSWORD")):
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                connect(services, role, "storefront", secret)

        # A check that finds nothing wrong with what is gone would be none.
        for name in ("kafka", "page"):
            services.processes[name].kill()
            services.processes[name].wait()
            assert not services.is_well(name)


@pytest.mark.compose
def test_the_whole_file_brings_a_sale_to_the_store(tmp_path: Path) -> None:
    """All but File Pulse, which cannot be had from a registry; three to four minutes, with 20 JVMs."""
    first = ["kafka", "topics", "connect", "postgres", "registry", "mlflow", "sink", "page"]
    lake = ["namenode", "datanode-1", "datanode-2", "spark-master", "spark-worker-1", "spark-worker-2"]
    with natively(tmp_path, VALUES, network()) as services:
        services.up([*first, *lake, "bronze", "silver", "gold", "scoring"], timeout_s=1200)
        status = services.run("operator", "lakehouse", "connect", "status")
        assert "FAILED" not in status
        services.run("operator", "lakehouse", "ingest", "produce", "--rate", "200", "--seconds", "10")
        end_s = time.monotonic() + 600
        with connect(services, "bi", "storefront", "STOREFRONT_BI_PASSWORD") as reader:
            while not (reader.execute("SELECT count(*) FROM gold.product_sales").fetchone() or (0,))[0]:
                assert time.monotonic() < end_s, services.log("gold")
                time.sleep(0.5)
        assert_no_secret_is_seen(services)
        services.processes["gold"].kill()
        while services.is_well("gold"):
            assert time.monotonic() < end_s, "Spark's master still has a job whose driver is gone"
            time.sleep(0.5)
