"""`python -m serving.live`: serves the page until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import logging
import signal
import sys

import uvicorn

from lakehouse.errors import LakehouseError, SettingError
from lakehouse.settings import Settings, load_settings
from lakehouse.visible import log_visibly
from serving.live.access import token_of
from serving.live.board import Board
from serving.live.connection import limits
from serving.live.follow import Feed
from serving.live.web import make_app
from serving.reader import BI, as_reader

log = logging.getLogger("lakehouse")

_LOOPBACK = ["127.0.0.1", "localhost", "[::1]"]
_LET_GO_S = 2


def reader_dsn(settings: Settings) -> str:
    """How the page connects: as a role that reads.

    :raises SettingError: neither that is given, nor what it can be made of.
    """
    found = settings.live_dsn.get_secret_value() or as_reader(settings)
    if found:
        return found
    raise SettingError(
        "The page has no role to read with.",
        f"LAKEHOUSE_LIVE_DSN, or LAKEHOUSE_POSTGRES_DSN and LAKEHOUSE_BI_PASSWORD, for the role `{BI}`",
        "set one of them, or use `lakehouse up`, which runs a server and the page",
    )


def allowed_hosts(host: str, names: str) -> list[str]:
    """Host names by which the page may be called: those given, and this machine's own if it listens there alone.

    :raises SettingError: it listens elsewhere, and none is given.
    """
    given = [name.strip() for name in names.split(",") if name.strip()]
    if host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback):
        return [*_LOOPBACK, *given]
    if not given:
        raise SettingError(
            f"LAKEHOUSE_LIVE_HOST is {host}: other machines reach the live page, and LAKEHOUSE_LIVE_HOSTS names none.",
            "the host names by which browsers call it, with commas",
            "name them, or listen on 127.0.0.1 and come by an `ssh -L` tunnel",
        )
    return given


async def serve(settings: Settings) -> None:
    """Until SIGINT or SIGTERM; both end in KeyboardInterrupt, once all is let go. What goes wrong in the feed ends the
    server too.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # uvicorn raises it again, and it would kill
    board, dsn = Board(), reader_dsn(settings)
    app = make_app(dsn, board, allowed_hosts(settings.live_host, settings.live_hosts), token_of(settings))
    config = uvicorn.Config(
        app,
        host=settings.live_host,
        port=settings.live_port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_LET_GO_S,
        **limits(),
    )
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # a line for each request that is none would fill a disk
    log.info("live: serving on %s, port %d", settings.live_host, settings.live_port)
    server = uvicorn.Server(config)
    async with asyncio.TaskGroup() as group:
        feed = group.create_task(Feed(dsn, settings, board).run())
        await server.serve()
        feed.cancel()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m serving.live", description="Serve the live page.")
    parser.parse_args()
    log_visibly()
    try:
        asyncio.run(serve(load_settings()))
    except LakehouseError as error:
        log.error("live: %s", error)
        return 1
    except KeyboardInterrupt:
        pass
    log.info("live: stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
