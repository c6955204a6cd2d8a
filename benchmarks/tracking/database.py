"""Where MLflow keeps its runs, and the SQLite file that it is by default."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from ...errors import UserError
from ...files import LockTimeoutError, locked

_SQLITE = re.compile(r"sqlite(?:\+\w+)?:///(?P<name>[^?]*)(?:\?(?P<query>.*))?", re.DOTALL)
_SQLITE_HEADER = b"SQLite format 3\0"


class TrackingError(UserError):
    """MLflow is absent, unreachable or cannot be written; the run records are whole all the same."""


def store_uri(results: Path) -> str:
    """Where MLflow keeps its runs: `MLFLOW_TRACKING_URI`, or else a SQLite file in the results folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or sqlite_uri(results.resolve() / "mlflow.db")


def sqlite_uri(database: Path) -> str:
    """The address of a SQLite file, as SQLAlchemy reads it: a question mark begins the options, %3F is one."""
    name = str(database)
    quoted = name.replace("%", "%25").replace("?", "%3F")
    # Under the short name MLflow makes a folder of the quoted path; it does not under the long one.
    return f"sqlite:///{name}" if quoted == name else f"sqlite+pysqlite:///{quoted}"


def database_of(uri: str) -> Path | None:
    """The SQLite file of a store; None for a server, and for SQLite in memory."""
    found = _SQLITE.fullmatch(uri)
    if found is None:
        return None
    name, options = unquote(found["name"]), parse_qs(found["query"] or "")
    if name.startswith("file:") and "uri" in options:  # SQLite's own addresses, which it unquotes once more
        name = "" if "memory" in options.get("mode", ()) else unquote(urlsplit(name).path)
    return Path(name) if name not in ("", ":memory:") else None


def check_database(uri: str) -> None:
    """Refuse at once what MLflow would try for minutes to open.

    Raises:
        TrackingError: there is no SQLite file, or SQLAlchemy understands another one by the address.
    """
    from sqlalchemy.engine import make_url

    database = database_of(uri)
    if database is None:
        return
    advice = "move it away, then run `bench sync`; the run records keep everything"
    if database.is_dir():
        raise TrackingError(f"MLflow's file {database} is a folder; {advice}")
    if database.is_file():
        with database.open("rb") as file:
            start = file.read(len(_SQLITE_HEADER))
        if start and start != _SQLITE_HEADER:
            raise TrackingError(f"MLflow's file {database} is no SQLite file; {advice}")
    read = make_url(uri).database or ""
    if Path(read) != database and not read.startswith("file:"):
        raise TrackingError(
            f"SQLAlchemy reads {uri} as the file {read}: the results folder cannot be named so with this version; "
            "install SQLAlchemy 2.1 or rename the folder"
        )


@contextmanager
def database_held(uri: str) -> Iterator[None]:
    """Let one process at a time write a SQLite store: two that migrate a new file at once break each other."""
    database = database_of(uri)
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    try:
        with locked(database.with_name(f"{database.name}.lock")):
            yield
    except LockTimeoutError as error:
        raise TrackingError(f"MLflow's file is held by another: {error}") from error


def create_database(client: Any, uri: str) -> None:
    """Put a new SQLite store in place whole or not at all.

    MLflow makes its tables in dozens of migrations, and a file whose migration was killed half-way can never be opened
    again. So they run on a draft beside it, and a copy of the finished draft takes its place in one step.
    """
    database = database_of(uri)
    if database is None or database.exists():
        return
    draft = database.with_name(f".{database.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        client(tracking_uri=sqlite_uri(draft.resolve() / "draft.db"))
        connect = sqlite3.connect
        with closing(connect(draft / "draft.db")) as source, closing(connect(draft / "whole.db")) as whole:
            source.backup(whole)
        (draft / "whole.db").replace(database)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def without_password(uri: str) -> str:
    """A store's address fit to be printed: without user and password."""
    parts = urlsplit(uri)
    return uri.replace(f"{parts.netloc}", parts.netloc.rpartition("@")[2], 1) if "@" in parts.netloc else uri
