"""The live page's server as `lakehouse up` starts it, and settings for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

from lakehouse.settings import Settings
from operate.live import is_answering, page_url
from operate.services import process
from operate.services.kafka import KafkaBroker
from operate.services.ports import free_port
from operate.services.postgres import PostgresServer
from serving.live.access import token_of
from tests.postgres_server import database_in
from tests.services.sinks import wait_for
from tests.services.store import own_name, store_in


def shop_in(broker: KafkaBroker, server: PostgresServer, folder: Path) -> Settings:
    """Topics and a database of this test's own, and a port for the page, which reads as `bi`."""
    owner = database_in(server, own_name(folder))
    reader = make_conninfo(server.bi_dsn, dbname=own_name(folder))
    return store_in(broker, folder).model_copy(
        update={"postgres_dsn": SecretStr(owner), "live_dsn": SecretStr(reader), "live_port": free_port(set())}
    )


def address(settings: Settings) -> str:
    """As the page's owner calls it."""
    return f"{page_url(settings)}/?t={token_of(settings)}"


@contextmanager
def page_server(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    """The server, which answers; it may be killed, and must end well if it is not."""
    log = settings.logs / "live.log"
    started = process.spawn([sys.executable, "-m", "serving.live"], log, os.environ | settings.as_environment())
    try:
        wait_for(lambda: started.poll() is not None or is_answering(settings), "the page is not served")
        assert started.poll() is None, log.read_text()
        yield started
    finally:
        was_running = started.poll() is None
        process.stop(started, 60.0)
        assert not was_running or started.returncode == 0, log.read_text()
