"""The sources as a Hyper file: the rows that PostgreSQL serves at one moment, money exact, times in UTC."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from dashboards.datasource import Extract, Live
from dashboards.fields import Field, Source
from dashboards.sources import SOURCES
from lakehouse.errors import InputError, MissingExtraError, ServiceError

Progress = Callable[[str, int], None]
"""Told the view that is being read, and how many of its rows are in the extract."""

_CHUNK_ROWS = 20_000
_DIGITS, _DECIMALS = 18, 2
"""Of an amount: what Hyper keeps in 64 bits."""


def write_extract(dsn: str, path: Path, progress: Progress = lambda view, rows: None) -> dict[str, int]:
    """One table per source, in Hyper's schema `Extract`. It takes the place of an extract that was written here before.

    In:  the views, by a reader's connection, all as of one moment.
    Out: rows by view. Amounts are NUMERIC(18, 2), times TIMESTAMP in UTC; null stays null. JSON columns are left out.
         Nothing is left of a file that could not be finished.

    :raises MissingExtraError: the extra `dashboards` is not installed.
    :raises ServiceError: PostgreSQL is away, or has no such views.
    :raises InputError: another file has this name, the folder has no room, or an amount is too large.
    """
    hyper = _hyper()
    with tempfile.TemporaryDirectory(prefix=".extract-", dir=path.parent) as scratch:
        unfinished = Path(scratch) / path.name
        try:
            # Its log would be left in the working folder, its telemetry would leave the machine.
            silent = {"telemetry": hyper.Telemetry.DO_NOT_SEND_USAGE_DATA_TO_TABLEAU, "parameters": {"log_config": ""}}
            with hyper.HyperProcess(**silent) as process:
                if path.exists():
                    _check_ours(path, process.endpoint, Path(scratch))
                with (
                    hyper.Connection(process.endpoint, unfinished, hyper.CreateMode.CREATE) as target,
                    _reading(dsn) as served,
                ):
                    target.catalog.create_schema(Extract.schema)
                    rows = {source.view: _copy(source, served, target, progress) for source in SOURCES}
        except hyper.HyperException as error:
            raise InputError(
                f"{path} cannot be written: {error.main_message}",
                "a folder with room",
                "make room, or choose another",
            ) from error
        unfinished.replace(path)
    return rows


def _hyper() -> Any:
    try:
        import tableauhyperapi
    except ImportError as error:
        raise MissingExtraError(
            "The packages for extracts are not installed.",
            "",
            ".venv/bin/pip install -e '.[dashboards]'",
        ) from error
    return tableauhyperapi


def _check_ours(path: Path, endpoint: Any, scratch: Path) -> None:
    hyper = _hyper()
    found: set[str] = set()
    copy = shutil.copyfile(path, scratch / "found.hyper")  # to open one changes it
    try:
        with hyper.Connection(endpoint, copy) as connection:
            found = {table.name.unescaped for table in connection.catalog.get_table_names(Extract.schema)}
    except hyper.HyperException:
        pass  # no Hyper file, or one of another shape
    finally:
        copy.unlink()
    if not found or not found <= {source.view for source in SOURCES}:
        raise InputError(
            f"{path} was not written by an export.", "a name that is free", "move it, or choose another folder"
        )


@contextmanager
def _reading(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """All views as of one moment, whatever is written meanwhile."""
    try:
        connection = psycopg.connect(dsn, connect_timeout=10, client_encoding="utf8")
    except psycopg.OperationalError as error:
        said = str(error).strip()
        raise ServiceError(
            f"PostgreSQL does not answer: {said}",
            "a store that runs",
            "`lakehouse up`, or name it in LAKEHOUSE_POSTGRES_DSN",
        ) from error
    with connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        try:
            yield connection
        except (
            psycopg.errors.UndefinedTable,
            psycopg.errors.UndefinedColumn,
            psycopg.errors.InsufficientPrivilege,
        ) as error:
            raise ServiceError(
                f"The store cannot be read: {error.diag.message_primary}.",
                "the views of this version",
                "let `lakehouse up` run once, which makes them",
            ) from error
        except psycopg.errors.NumericValueOutOfRange as error:
            raise InputError(
                f"An amount is too large for an extract: {error.diag.message_primary}.",
                f"at most {_DIGITS - _DECIMALS} digits before the point",
                "look for it in `psql`",
            ) from error
        except psycopg.OperationalError as error:
            raise ServiceError(f"PostgreSQL went away: {str(error).strip()}", "", "run the export again") from error


def _copy(source: Source, served: psycopg.Connection[Any], target: Any, progress: Progress) -> int:
    """In chunks: a table may be larger than the memory."""
    hyper = _hyper()
    columns = [hyper.TableDefinition.Column(field.name, _type(field, hyper)) for field in source.fields]
    table = hyper.TableDefinition(hyper.TableName(Extract.schema, source.view), columns)
    target.catalog.create_table(table)
    rows = 0
    progress(source.view, rows)
    with served.cursor(name="export") as cursor, hyper.Inserter(target, table) as inserter:
        cursor.execute(_query(source))
        while chunk := cursor.fetchmany(_CHUNK_ROWS):
            inserter.add_rows(chunk)
            rows += len(chunk)
            progress(source.view, rows)
        inserter.execute()
    return rows


def _query(source: Source) -> sql.Composed:
    """An extract knows no time zones: its times are UTC. Hyper's client would not see that an amount is too large."""
    forms = {"datetime": "{} AT TIME ZONE 'UTC'", "decimal": "{}::numeric(18, 2)"}
    names = [(field, sql.Identifier(field.name)) for field in source.fields]
    columns = [sql.SQL(forms.get(field.kind, "{}")).format(name) for field, name in names]
    return sql.SQL("SELECT {} FROM {}").format(sql.SQL(", ").join(columns), sql.Identifier(Live.schema, source.view))


def _type(field: Field, hyper: Any) -> Any:
    make = hyper.SqlType
    return {
        "integer": make.big_int,
        "decimal": lambda: make.numeric(_DIGITS, _DECIMALS),
        "double": make.double,
        "string": make.text,
        "date": make.date,
        "datetime": make.timestamp,
    }[field.kind]()
