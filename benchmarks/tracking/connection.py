"""Reaching an MLflow store: MLflow's settings, its errors as one sentence, and one writer at a time.

MLflow is imported inside the functions: a bare GPU node has none and loses nothing (`bench sync` catches up).
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .database import TrackingError, check_database, create_database, database_held, database_of, without_password
from .relocation import bring_artifacts_along
from .store import Store

#: No network, no chatter; a value that the user has set stays.
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
#: A server that is down must cost seconds, not MLflow's minutes; once it has answered it may take its time.
_PROBE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
_WORK = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}

#: Tries to open a store, and s between two; see `_opened`.
_TRIES, _PAUSE = 5, 2.0


@contextmanager
def open_store(uri: str) -> Iterator[Store]:
    """Reach the store and hold it for this process.

    Raises:
        TrackingError: MLflow is not installed, or the store cannot be reached, read or written.
    """
    client, errors = _client_and_errors()
    try:
        with database_held(uri):
            check_database(uri)
            create_database(client, uri)
            bring_artifacts_along(database_of(uri))
            with _settings(_PROBE):
                store = _opened(client, uri)
            with _settings(_WORK):
                yield store
    except errors as error:
        address = without_password(uri)
        reason = first_line(error).replace(uri, address)
        raise TrackingError(
            f"MLflow at {address} cannot be used ({reason}); the run records keep everything, "
            "run `bench sync` once it is back"
        ) from error


def _opened(client: Any, uri: str) -> Store:
    """The store; of two machines that make the tables of an empty database at once, the second begins again."""
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    for _ in range(_TRIES - 1):
        try:
            return Store(client(tracking_uri=uri), uri)
        except (IntegrityError, ProgrammingError):
            time.sleep(_PAUSE)
    return Store(client(tracking_uri=uri), uri)


def _client_and_errors() -> tuple[Any, tuple[type[Exception], ...]]:
    """Import MLflow: its client, and what its client raises where a store fails."""
    for key, value in _QUIET.items():
        os.environ.setdefault(key, value)
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        raise TrackingError(
            "mlflow is not installed here; the run record keeps everything, run `bench sync` where it is"
        ) from error
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return MlflowClient, (MlflowException, RequestException, SQLAlchemyError, sqlite3.Error, OSError)


@contextmanager
def _settings(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that the user has not set, and take them away again."""
    own = {key: value for key, value in values.items() if key not in os.environ}
    os.environ.update(own)
    try:
        yield
    finally:
        for key in own:
            os.environ.pop(key, None)


def first_line(error: Exception, length: int = 160) -> str:
    """The first line of an error's text, cut to a length."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line if len(line) <= length else f"{line[: length - 3]}..."
