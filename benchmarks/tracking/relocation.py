"""Artifacts that stay with a results folder which is moved or copied.

MLflow notes for every run where its artifacts lie, as an absolute address. Beside a SQLite file of ours that is the
folder `mlartifacts`; where the file lies elsewhere now, the addresses are brought up to date before it is used.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from .tags import EXPERIMENT

ARTIFACTS = "mlartifacts"
#: Tables and columns that hold addresses below that of the experiment.
_ADDRESSES = (("runs", "artifact_uri"), ("logged_models", "artifact_location"))


def artifacts_beside(database: Path) -> str:
    """The address of the folder of artifacts that belongs to a SQLite file."""
    return (database.resolve().parent / ARTIFACTS).as_uri()


def bring_artifacts_along(database: Path | None) -> None:
    """Let a SQLite file that was moved or copied with its folder find the artifacts beside it.

    Args:
        database: the file; None where the store is none, and nothing is to be done.

    Raises:
        sqlite3.Error: the file cannot be read or written.
    """
    if database is None or not database.is_file():
        return
    with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "experiments" not in tables:
            return
        query = "SELECT experiment_id, artifact_location FROM experiments WHERE name = ?"
        for number, old in connection.execute(query, (EXPERIMENT,)).fetchall():
            if _is_left_behind(old or "", database):
                _change(connection, number, old.rstrip("/"), artifacts_beside(database), tables)


def _is_left_behind(address: str, database: Path) -> bool:
    """Whether an experiment's address is that of a folder of ours beside another file, and ours is here or theirs gone.

    A file that was copied alone keeps pointing to the artifacts that are there.
    """
    old = Path(unquote(urlsplit(address).path))
    here = database.resolve().parent / ARTIFACTS
    if not address.startswith("file:") or old.name != ARTIFACTS or old == here:
        return False
    return here.is_dir() or not old.exists()


def _change(connection: sqlite3.Connection, experiment: int, old: str, new: str, tables: set[str]) -> None:
    connection.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (new, experiment))
    for table, column in _ADDRESSES:
        if table in tables:
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE experiment_id = ? AND substr({column}, 1, ?) = ?",
                (new, len(old) + 1, experiment, len(old) + 1, f"{old}/"),
            )
