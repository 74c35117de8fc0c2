"""MLflow's own server, for those who have the live page's token, and of it only what a reader needs. It has no login of
its own: whoever reached its port, another account of this machine or a page in the owner's browser, could delete runs,
choose the champion, and run commands as the owner (MLflow's assistant).
"""

from __future__ import annotations

import argparse
import os
import re
from typing import Any

import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lakehouse.settings import load_settings
from serving.live.access import Access

HEALTH = "/health"
_STORE = "_MLFLOW_SERVER_FILE_STORE"
"""How `mlflow server` tells its application where runs are."""

_THINGS = "experiments|runs|metrics|artifacts|logged-models|model-versions|registered-models|traces|datasets"
_MORE = "unified-traces|get-trace-artifact|server-info"
_SHOWN = re.compile(rf"/(ajax-)?api/[23]\.0/mlflow/({_THINGS}|{_MORE})(/[^/]+)*")
_ASKED = re.compile(rf"/(ajax-)?api/[23]\.0/mlflow/({_THINGS})/(search|search-datasets|get-latest-versions)|/graphql")
"""GraphQL too only reads: of MLflow's schema its one mutation is for tests, and changes nothing."""
_FILES = re.compile(
    r"/|/health|/version|/get-artifact|/model-versions/get-artifact|/static-files(/[^/]+)+|/favicon\.ico"
)


def is_reading(method: str, path: str) -> bool:
    """Does a request only read what training has left? What is not known to is not let through."""
    if "/." in path:  # whatever a router behind this makes of it
        return False
    if method in ("GET", "HEAD"):
        return bool(_SHOWN.fullmatch(path) or _FILES.fullmatch(path))
    return method == "POST" and bool(_ASKED.fullmatch(path))


class Shown:
    """An application of which only reading requests are let through."""

    def __init__(self, whole: ASGIApp) -> None:
        self._whole = whole

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (
            scope["type"] == "http" and is_reading(str(scope["method"]), str(scope["path"]))
        ):
            await self._whole(scope, receive, send)
        elif scope["type"] == "http":
            await JSONResponse(_REFUSED, 403)(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})


_REFUSED: dict[str, Any] = {
    "error_code": "PERMISSION_DENIED",
    "message": "This MLflow only shows. Change runs and models by its Python API, on the store in the home folder.",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m operate.services.mlflow_shown", description=__doc__)
    parser.add_argument("--store", required=True, help="where runs are")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int)
    given = parser.parse_args()
    os.environ[_STORE] = given.store
    from mlflow.server.fastapi_app import app  # reads the environment

    uvicorn.run(
        Access(Shown(app), load_settings().live_token.get_secret_value(), HEALTH), host=given.host, port=given.port
    )


if __name__ == "__main__":
    main()
