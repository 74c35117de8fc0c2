"""Reading the lake without Spark, in a second: delta-rs opens the tables, DuckDB asks them."""

from __future__ import annotations

import json
import os
import re
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
from pyarrow import dataset, fs

# delta-rs reads it when it is imported, so nothing else of ours imports delta-rs. On HDFS it warns of each attempt to
# reach a DataNode that is away, and reads from another; what it cannot read it raises.
os.environ.setdefault("RUST_LOG", "error")
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from lakehouse.errors import InputError, ServiceError, TableError
from lakehouse.settings import Settings
from lakehouse.tables import SILVER_EVENTS, TABLES, Table, find_table

# delta-rs colours what it says.
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Commit:
    """One line of a table's history. :param note: what our writer wrote beside it (lakehouse/commits.py)."""

    version: int
    committed_at: datetime
    operation: str
    metrics: dict[str, Any]
    note: dict[str, Any]


def open_table(table: Table, settings: Settings, as_of: str | int | None = None) -> DeltaTable:
    """:param as_of: a version, or a time in ISO 8601 (UTC where it names no zone); None: now.

    :raises TableError: the table is not there, or not as of then.
    :raises ServiceError: the storage that the lake is on does not answer.
    """
    try:
        opened = DeltaTable(table.path(settings))
    except TableNotFoundError:
        raise TableError(
            f"{table.name} is not in the lake {settings.lake_url}.", "a lake with data", "run `lakehouse demo` or `up`"
        ) from None
    except OSError as error:
        said = " ".join(_COLOUR.sub("", str(error)).split())
        raise ServiceError(
            f"The lake {settings.lake_url} cannot be read: {said}",
            "storage that answers there",
            "start it, or correct LAKEHOUSE_LAKE; for an HDFS by a name of its own set HADOOP_CONF_DIR",
        ) from None
    if as_of is not None:
        try:
            moment = as_of if isinstance(as_of, int) else _as_time(as_of)
            opened.load_as_version(moment)
            if isinstance(moment, datetime) and opened.version() == 0:
                _refuse_before_the_first(moment, table, settings)
        except (DeltaError, ValueError) as error:
            raise TableError(
                f"{table.name} cannot be read as of {as_of}: {error}",
                "a version or a time that `lakehouse history` lists",
                f"see `lakehouse history {table.name}`",
            ) from None
    return opened


def _refuse_before_the_first(moment: datetime, table: Table, settings: Settings) -> None:
    """delta-rs takes version 0 for the table as of any time before it."""
    # A table that was loaded as of a version gives all of its history as that of the version.
    made_at = datetime.fromtimestamp(DeltaTable(table.path(settings)).history()[-1]["timestamp"] / 1000, UTC)
    if moment < made_at:
        raise ValueError(f"it was made at {made_at:%Y-%m-%dT%H:%M:%SZ}")


def open_dataset(table: Table, settings: Settings, as_of: str | int | None = None) -> dataset.Dataset:
    """The rows of a table, to be read when they are asked for. Parameters and errors are those of `open_table`.

    Files of this machine are read by Arrow itself. Through delta-rs each read calls Python from a thread of Arrow's:
    where a query ends before its reads do (LIMIT), such a call ends the whole program at its exit, by SIGABRT.
    """
    opened = open_table(table, settings, as_of)
    if settings.lake_folder is None:
        return opened.to_pyarrow_dataset()
    folder = table.path(settings).removeprefix("file://")
    return opened.to_pyarrow_dataset(filesystem=fs.SubTreeFileSystem(folder, fs.LocalFileSystem()))


def _as_time(text: str) -> int | datetime:
    if re.fullmatch(r"\d+", text):
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            f"{text!r} is no version and no time.", "a number, or a time such as 2026-01-31T12:00:00Z"
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


_TABLES_ONLY: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "memory_limit": "25%",
}
"""A query that somebody was given reads the tables, which we hand over, and nothing else of this machine or the
network; what needs more memory is spilled.
"""

_MOVES = ("OPTIMIZE", "VACUUM START", "VACUUM END")


def commits_of(table: Table, settings: Settings, limit: int | None = None) -> list[Commit]:
    """The history of a table, newest first."""
    while True:
        entries = open_table(table, settings).history(limit)
        # delta-rs counts the versions down from the one that it had opened, though the log may have more by then.
        if not entries or open_table(table, settings).version() == entries[0]["version"]:
            break
    return [
        Commit(
            entry["version"],
            datetime.fromtimestamp(entry["timestamp"] / 1000, UTC),
            entry["operation"],
            entry.get("operationMetrics") or {},
            _note(entry.get("userMetadata")),
        )
        for entry in entries
    ]


def _note(text: str | None) -> dict[str, Any]:
    try:
        note = json.loads(text or "{}")
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def as_moved(table: Table, settings: Settings, version: int) -> int:
    """The newest version that has the same rows as this one: the commits between have only moved them to other files,
    and the old ones may be gone.
    """
    newest = open_table(table, settings).version()
    later = commits_of(table, settings, newest - version) if newest > version else []
    for commit in reversed(later):
        if commit.version > version:
            if commit.operation not in _MOVES:
                break
            version = commit.version
    return version


def last_noted(table: Table, settings: Settings) -> Commit:
    """The newest commit with a note; where none has been written yet, the newest commit."""
    for limit in (1, 50, None):
        for commit in commits_of(table, settings, limit):
            if commit.note:
                return commit
    return commits_of(table, settings, 1)[0]


def events_left(table: Table, settings: Settings) -> int:
    """Events of silver.events that a table made of them has not taken in, by the notes of its commits.

    :raises TableError: one of the two is not there.
    """
    read = int(last_noted(table, settings).note.get("silver_version", 0))
    behind = open_table(SILVER_EVENTS, settings).version() - read
    commits = commits_of(SILVER_EVENTS, settings, behind) if behind > 0 else []
    return sum(int(commit.metrics.get("numOutputRows", 0)) for commit in commits)


def query(
    sql: str, settings: Settings, as_of: str | int | dict[str, int] | None = None, **frames: Any
) -> duckdb.DuckDBPyRelation:
    """Runs DuckDB's SQL over the tables that it names (`silver.events`, ...).

    :param as_of: for all of them, or by the table's name.
    :param frames: further Arrow tables, by name.
    :raises InputError: the SQL cannot be run. What its rows bring is met by `rows_of`.
    """
    connection = duckdb.connect(config=_TABLES_ONLY | {"temp_directory": str(_spilled(settings))})
    connection.execute("SET TimeZone = 'UTC'")
    for layer in sorted({table.layer for table in TABLES}):
        connection.execute(f"CREATE SCHEMA {layer}")
    for name in sorted(set(re.findall(r"\b(?:bronze|silver|gold)\.\w+", sql))):
        version = as_of.get(name) if isinstance(as_of, dict) else as_of
        source = name.replace(".", "__")
        connection.register(source, open_dataset(find_table(name), settings, version))
        connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {source}")
    for name, frame in frames.items():
        connection.register(name, frame)
    connection.execute("SET lock_configuration = true")
    try:
        return connection.sql(sql)
    except duckdb.Error as error:
        raise InputError(
            f"The query cannot be run: {error}", "DuckDB's SQL over the tables of `lakehouse tables`"
        ) from None


def _spilled(settings: Settings) -> Path:
    """Named as temporary folders of ours are: what a killed query has left there is removed (lakehouse.home)."""
    place = settings.home / "tmp"
    if settings.home.is_dir():
        place.mkdir(exist_ok=True)
    else:  # a lake that is elsewhere
        place = Path(tempfile.gettempdir())
    return place / str(os.getpid())


def rows_of(relation: duckdb.DuckDBPyRelation) -> list[tuple[Any, ...]]:
    """The rows of a query, which DuckDB runs only now.

    :raises InputError: a value stopped it half-way.
    """
    try:
        return relation.fetchall()
    except duckdb.Error as error:
        raise InputError(f"The query stopped half-way: {error}", "values that DuckDB can read") from None


def dicts_of(relation: duckdb.DuckDBPyRelation) -> list[dict[str, Any]]:
    """As `rows_of`, by the columns' names."""
    return [dict(zip(relation.columns, row, strict=True)) for row in rows_of(relation)]
