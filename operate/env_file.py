"""`lakehouse init-env`: the file that docker-compose.yml takes its secrets and ports from."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from lakehouse.errors import InputError

_CLUSTER_ID = "STOREFRONT_KAFKA_CLUSTER_ID"

SECRETS = {
    "STOREFRONT_KAFKA_PASSWORD": "of the jobs, the sink and the operator in Kafka",
    "STOREFRONT_KAFKA_CONNECT_PASSWORD": "of Kafka Connect in Kafka",
    "STOREFRONT_CONNECT_PASSWORD": "of the operator in Kafka Connect",
    "STOREFRONT_POSTGRES_PASSWORD": "of PostgreSQL's administrator",
    "STOREFRONT_SERVING_PASSWORD": "of the owner of the serving store",
    "STOREFRONT_BI_PASSWORD": "of the role `bi`, which reads: the live page, Tableau, you",
    "STOREFRONT_PAGE_TOKEN": "of the live page's address, http://127.0.0.1:8050/?t=TOKEN",
    "STOREFRONT_REGISTRY_PASSWORD": "of the schema registry in PostgreSQL",
    "STOREFRONT_MLFLOW_DB_PASSWORD": "of MLflow in PostgreSQL",
    "STOREFRONT_MLFLOW_PASSWORD": "of MLflow's user `admin`: you, training, scoring",
    "STOREFRONT_MLFLOW_SECRET_KEY": "with which MLflow signs its forms",
    "STOREFRONT_SPARK_SECRET": "that Spark's master, workers and jobs share",
}
"""Name -> whose it is."""

PORTS = {
    "STOREFRONT_PAGE_PORT": (8050, "the live page"),
    "STOREFRONT_MLFLOW_PORT": (5000, "MLflow"),
    "STOREFRONT_SPARK_PORT": (8080, "Spark's master"),
}
"""Name -> port on 127.0.0.1, and what is there."""

CHECKSUM = "STOREFRONT_FILE_PULSE_SHA256"
"""Of the archive that the image of Connect is built from. It cannot be had here, so it is for the user to fill in."""

_HEAD = """\
# Secrets and ports of docker-compose.yml, made by `lakehouse init-env`. Only you may read this file. PostgreSQL, Kafka
# and MLflow take their passwords when they are first started: a change here alone does not change them there.
"""


def env_lines(token: Callable[[int], str]) -> str:
    """The text of the file.

    :param token: so many random bytes -> text of letters, digits, `-` and `_` (`secrets.token_urlsafe`).
    """
    # As Kafka writes an id: 16 bytes. The letter in front: a hyphen there would be read as an option.
    lines = [f"{_CLUSTER_ID}=L{token(16)[1:]}"]
    lines += [line for name, whose in SECRETS.items() for line in ("", f"# {whose}", f"{name}={token(24)}")]
    lines += [line for name, (port, what) in PORTS.items() for line in ("", f"# port of {what}", f"{name}={port}")]
    lines += ["", "# SHA-256 of File Pulse's archive: deploy/README.md says how to know it", f"{CHECKSUM}="]
    return _HEAD + "\n".join(lines) + "\n"


def init_env(
    console: Console, path: Annotated[Path, typer.Argument(metavar="PATH", help="a new file")] = Path(".env")
) -> int:
    """For its owner alone.

    :raises InputError: there is such a file already.
    """
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InputError(
            f"{path} is there already.",
            "no file: what runs with the secrets in it would not start with others",
            "keep it, or name another one (`lakehouse init-env PATH`, then `docker compose --env-file PATH`)",
        ) from None
    with os.fdopen(file, "w", encoding="utf-8") as opened:
        opened.write(env_lines(secrets.token_urlsafe))
    ports = ", ".join(f"{what} {port}" for port, what in PORTS.values())
    console.print(
        f"{path}: {len(SECRETS)} random secrets; ports on 127.0.0.1: {ports}", highlight=False, soft_wrap=True
    )
    file_flag = "" if path.name == ".env" else f" --env-file {path}"
    console.print(
        f"Next: fill in {CHECKSUM} (deploy/README.md), then docker compose{file_flag} up --detach",
        highlight=False,
        soft_wrap=True,
    )
    return 0
