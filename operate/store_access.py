"""How people reach the serving store."""

from __future__ import annotations

import shlex
from contextlib import suppress

from pydantic import SecretStr

from lakehouse.errors import ServiceError
from lakehouse.settings import Settings
from operate.services.postgres import BIN, PostgresServer


def how_to_connect(settings: Settings) -> list[str]:
    """A command that works as it stands; of a server that is not ours we know no more than its owner does."""
    try:
        server, dsn = PostgresServer(settings), settings.postgres_dsn.get_secret_value()
        if dsn and dsn != server.dsn:
            return []
        return ["SQL: " + shlex.join([str(BIN / "psql"), server.bi_dsn])]
    except ServiceError:
        return []


def known_store(settings: Settings) -> Settings:
    """Settings that name the PostgreSQL given, or the embedded one where there is one."""
    if settings.postgres_dsn.get_secret_value():
        return settings
    server = PostgresServer(settings)
    with suppress(ServiceError):
        return settings.model_copy(update={"postgres_dsn": SecretStr(server.dsn)})
    return settings
