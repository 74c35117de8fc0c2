"""The embedded MLflow's files where its database says they are: it notes whole paths, and a home may be moved, or
copied with a backup to another place.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_COLUMNS = ("artifact_location", "artifact_uri", "source", "storage_location")


def follow_the_move(folder: Path) -> None:
    """Corrects the paths of an embedded MLflow's database that was made in another folder; else it does nothing.

    :param folder: in which it is now: `mlflow.db` and the folder `artifacts`.
    """
    path, here = folder / "mlflow.db", (folder / "artifacts").as_uri()
    if not path.exists():
        return
    with closing(sqlite3.connect(path, timeout=60.0)) as database, database:
        columns = [
            (table, column)
            for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for _, column, *_ in database.execute(f"PRAGMA table_info({table})").fetchall()
            if column in _COLUMNS
        ]
        if ("experiments", "artifact_location") not in columns:
            return  # it is being made
        # Of our experiments alone, which are in a folder of their own; others' are wherever they were put.
        for (before,) in database.execute(
            "SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location GLOB 'file:*/mlflow/artifacts'"
        ).fetchall():
            if before != here:
                for table, column in columns:
                    database.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                        f"WHERE {column} = ? OR substr({column}, 1, ?) = ?",
                        (here, len(before) + 1, before, len(before) + 1, f"{before}/"),
                    )
