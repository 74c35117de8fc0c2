"""What Tableau opens, written into a folder: documents on the live store, or a package with an extract of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console

from dashboards.datasource import Live
from dashboards.extract import write_extract
from dashboards.files import HYPER, PACKAGE, check_folder, check_free, write_documents, write_package
from lakehouse.command import AsJson
from lakehouse.errors import InputError, ServiceError
from lakehouse.settings import Settings
from operate.services.postgres import PostgresServer
from serving.reader import as_reader

Out = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="a folder that is there")]


def export_tableau(
    settings: Settings,
    console: Console,
    folder: Out,
    host: Annotated[str, typer.Option(help="of the store as Tableau sees it (as this machine does)")] = "",
    port: Annotated[int, typer.Option(help="likewise (as this machine does)", show_default=False)] = 0,
    as_json: AsJson = False,
) -> int:
    place = store_place(settings, host, port)
    with _writing(folder):
        written = write_documents(folder, place)
    if as_json:
        print(json.dumps({"files": list(map(str, written)), **vars(place)}))
        return 0
    where = f"{place.host}:{place.port}, database {place.database}, user {place.user}"
    console.print(f"{len(written)} files in {folder}, on {where}", highlight=False, soft_wrap=True)
    return 0


def export_hyper(settings: Settings, console: Console, folder: Out, as_json: AsJson = False) -> int:
    started_s = time.monotonic()
    check_folder(folder)
    check_free(folder / PACKAGE)
    with _writing(folder), console.status("Reading ...") as status:
        rows = write_extract(
            reader_dsn(settings), folder / HYPER, lambda view, done: status.update(f"{view}: {done:,} rows")
        )
        status.update("Packing ...")
        write_package(folder / PACKAGE, folder / HYPER)
    sizes = {name: (folder / name).stat().st_size for name in (HYPER, PACKAGE)}
    seconds = round(time.monotonic() - started_s, 1)
    if as_json:
        print(json.dumps({"rows": rows, "bytes": sizes, "seconds": seconds}))
        return 0
    for view, count in rows.items():
        console.print(f"{view:<22}{count:>12,} rows", highlight=False)
    for name, size in sizes.items():
        console.print(f"{folder / name}  {size:,} bytes", highlight=False, soft_wrap=True)
    console.print(f"{sum(rows.values()):,} rows in {seconds} s", highlight=False)
    return 0


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written: {error}", "a folder of yours, with room", "free some, or choose another"
        ) from error


def reader_dsn(settings: Settings) -> str:
    """How to read the views: as `bi` where its password is known, else as LAKEHOUSE_POSTGRES_DSN says.

    :raises ServiceError: no store is named, and none was ever started in this home.
    """
    dsn = settings.postgres_dsn.get_secret_value()
    return (as_reader(settings) or dsn) if dsn else PostgresServer(settings).bi_dsn


def store_place(settings: Settings, host: str, port: int) -> Live:
    """Where the store is: as asked, else as its DSN says, else a server of the usual port on this machine.

    :raises InputError: the DSN names no single server to which Tableau could connect.
    """
    usual = Live()
    try:
        known = conninfo_to_dict(reader_dsn(settings))
    except ServiceError:
        known = {}
    found, found_port = str(known.get("host", usual.host)), str(known.get("port", usual.port))
    host, number = host or found, str(port) if port else found_port
    if "," in host + number or host.startswith(("/", "@")):
        raise InputError(f"Tableau cannot connect to {host}:{number}.", "one host and port", "give --host and --port")
    return Live(host, int(number), str(known.get("dbname", usual.database)))
