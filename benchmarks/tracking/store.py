"""MLflow is told from the run records, never the other way round.

    experiment "uadbench"
      parent run    a (recipe, data, splits): parameters, mean and standard deviation over folds
        child run   a fold: parameters, metrics by epoch, test metrics by data set, thresholds, artifacts

The record on disk is the truth; this module repeats it. Every run is found again by its tags, and a child's tag
`uadbench.complete` (a hash of its content) is written last. So a sync that was killed at any moment is simply repeated:
a child without the tag, or with another hash, is deleted and written anew, and one that is whole is left alone.

MLflow is imported inside the functions: a bare GPU node has none and loses nothing (`bench sync` catches up).
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from ..records.record import RunRecord
from .database import TrackingError, check_database, create_database, database_held, database_of, without_password
from .fold_result import SHOWN, FoldResult, newest_folds, over_folds
from .report import Point, Report
from .tags import (
    CELL,
    CHECKPOINT,
    COMPLETE,
    DATA,
    HISTORY,
    KIND,
    METRICS_PER_BATCH,
    OF_A_FAMILY,
    ORIGIN,
    PARAMS_PER_BATCH,
    PARENT_ID,
    RECIPE,
    RESULT,
    SPLITS,
)

EXPERIMENT = "uadbench"

#: No network, no chatter; a value that the user has set stays.
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
#: A server that is down must cost seconds, not MLflow's minutes; once it has answered it may take its time.
_PROBE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
_WORK = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}


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
            with _settings(_PROBE):
                store = Store(client(tracking_uri=uri), uri)
            with _settings(_WORK):
                yield store
    except errors as error:
        address = without_password(uri)
        reason = first_line(error).replace(uri, address)
        raise TrackingError(
            f"MLflow at {address} cannot be used ({reason}); the run records keep everything, "
            "run `bench sync` once it is back"
        ) from error


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


class Store:
    """The experiment in an MLflow store."""

    def __init__(self, client: Any, uri: str) -> None:
        self._client = client
        self.experiment = self._find_experiment(uri)

    def parent(self, report: Report) -> str:
        """The id of the parent run, made where there is none; of two that a race made the older stays."""
        tags = {KIND: "parent", **_family_tags(report.family)}
        found = self._runs(tags)
        for other in found[1:]:
            self._client.delete_run(other.info.run_id)
        run = found[0] if found else self._create(report.parent_title, tags, report.start)
        wanted = {word: report.tags[word] for word in OF_A_FAMILY if word in report.tags}
        wanted |= {"mlflow.note.content": report.note, "mlflow.source.name": "bench"}
        known = run.data.tags
        self._log(
            run.info.run_id,
            params={key: value for key, value in report.params.items() if key not in run.data.params},
            tags={key: value for key, value in wanted.items() if key not in known},
        )
        return str(run.info.run_id)

    def child(self, report: Report, parent: str, record: RunRecord, with_checkpoint: bool) -> bool:
        """Write the child run of a cell unless it is there and whole; returns whether anything was written."""
        found = self._runs({KIND: "fold", CELL: report.cell})
        whole = [run for run in found if run.data.tags.get(COMPLETE) == report.digest]
        whole = whole or [run for run in found if _knows_more(run, report)]
        for run in found:
            if run not in whole[:1]:
                self._client.delete_run(run.info.run_id)
        run_id = whole[0].info.run_id if whole else self._write(report, parent)
        tags = whole[0].data.tags if whole else {PARENT_ID: parent}
        if tags[PARENT_ID] != parent:
            self._client.set_tag(run_id, PARENT_ID, parent)
        wanted = with_checkpoint and record.best_checkpoint.exists() and CHECKPOINT not in tags
        if wanted:
            self._client.log_artifact(run_id, str(record.best_checkpoint), "checkpoints")
            self._client.set_tag(run_id, CHECKPOINT, "yes")
        return wanted or not whole

    def summarise(self, family: tuple[str, str, str], parent: str) -> None:
        """Bring the parent's means, standard deviations and number of folds up to date."""
        results = newest_folds(self.results(_family_tags(family)))
        summary: dict[str, float] = {"folds_done": float(len(results))}
        for key in sorted({key for result in results for key in result.metrics} - set(HISTORY)):
            values = [result.metrics[key] for result in results if key in result.metrics]
            summary[f"{key}_mean"], std = over_folds(values)
            if len(values) > 1:
                summary[f"{key}_std"] = std
        run = self._client.get_run(parent)
        now = int(datetime.now(UTC).timestamp() * 1000)
        known = run.data.metrics
        # Compared as text, so that a NaN equals itself and is not logged again and again.
        changed = [Point(key, value, 0, now) for key, value in summary.items() if repr(known.get(key)) != repr(value)]
        if changed or run.info.status != "FINISHED":
            self._log(parent, points=changed)
            end = max((_end(result) for result in results), default=run.info.start_time)
            self._client.set_terminated(parent, "FINISHED", end_time=end)

    def results(self, tags: Mapping[str, str]) -> Iterator[FoldResult]:
        """The complete cells with these tags."""
        for run in self._runs({KIND: "fold", **tags}):
            if COMPLETE in run.data.tags:
                identity = json.loads(run.data.tags[RESULT])
                identity["cohorts"] = {role: tuple(pair) for role, pair in identity["cohorts"].items()}
                told = run.data.tags
                words: dict[str, Any] = {word: told.get(word, "") for word in SHOWN}
                words |= {"changes": told.get("changed", ""), "seed": int(told.get("seed", 0))}
                words |= {"modality": told.get("modality", "t2"), "commit": told.get("env.commit", "")}
                words |= {"origin": told.get(ORIGIN, "")}
                yield FoldResult(**identity, **words, metrics=dict(run.data.metrics))

    def tags(self, run_id: str) -> dict[str, str]:
        """The tags of a run; none where there is no such run."""
        from mlflow.exceptions import MlflowException

        try:
            return dict(self._client.get_run(run_id).data.tags)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return {}
            raise

    def _write(self, report: Report, parent: str) -> str:
        run = self._create(report.title, {**report.tags, KIND: "fold", PARENT_ID: parent}, report.start)
        run_id = str(run.info.run_id)
        self._log(run_id, params=report.params, points=report.points)
        for name, text in report.texts.items():
            self._client.log_text(run_id, text, name)
        for path in report.files:
            self._client.log_artifact(run_id, str(path))
        self._client.set_terminated(run_id, "FINISHED", end_time=report.end)
        self._client.set_tag(run_id, COMPLETE, report.digest)
        return run_id

    def _create(self, title: str, tags: Mapping[str, str], start: int) -> Any:
        return self._client.create_run(self.experiment, start_time=start, tags=dict(tags), run_name=title)

    def _log(
        self,
        run_id: str,
        *,
        params: Mapping[str, str] | None = None,
        points: Sequence[Point] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log in batches that every server accepts."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(point.key, point.value, point.time, point.step) for point in points]
        for start in range(0, len(metrics), METRICS_PER_BATCH):
            self._client.log_batch(run_id, metrics=metrics[start : start + METRICS_PER_BATCH])
        words = [Param(key, value) for key, value in (params or {}).items()]
        for start in range(0, len(words), PARAMS_PER_BATCH):
            self._client.log_batch(run_id, params=words[start : start + PARAMS_PER_BATCH])
        if tags:
            self._client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def _runs(self, tags: Mapping[str, str]) -> list[Any]:
        """Every run with these tags, oldest first."""
        words = [f"tags.`{key}` = {_quoted(value)}" for key, value in tags.items()]
        query, order, found, token = " and ".join(words), ["attributes.start_time ASC"], [], None
        while True:
            page = self._client.search_runs([self.experiment], query, order_by=order, page_token=token)
            found += list(page)
            token = page.token
            if not token:
                return found

    def _find_experiment(self, uri: str) -> str:
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            database = database_of(uri)
            place = None if database is None else (database.resolve().parent / "mlartifacts").as_uri()
            return str(self._client.create_experiment(EXPERIMENT, artifact_location=place))
        if experiment.lifecycle_stage == "deleted":
            number = experiment.experiment_id
            raise TrackingError(
                f"the experiment {EXPERIMENT} at {without_password(uri)} was deleted; bring it back "
                f"with `mlflow experiments restore -x {number}` or remove it with `mlflow gc`, then run `bench sync`"
            )
        return str(experiment.experiment_id)


def _knows_more(run: Any, report: Report) -> bool:
    """Whether a whole run of this cell holds a number that the record has lost, such as its training curve."""
    told = {point.key for point in report.points}
    return COMPLETE in run.data.tags and bool(set(run.data.metrics) - told)


def _quoted(value: str) -> str:
    """A word of MLflow's query language, which knows both quotation marks and no escape."""
    return f'"{value}"' if "'" in value else f"'{value}'"


def _end(result: FoldResult) -> int:
    """When a cell was finished, milliseconds: its start and the time it took."""
    seconds = result.metrics.get("seconds_train", 0.0) + result.metrics.get("seconds_score", 0.0)
    start = datetime.fromisoformat(result.started).timestamp() if result.started else 0.0
    return int(1000 * (start + seconds))


def _family_tags(family: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip((RECIPE, DATA, SPLITS), family, strict=True))
