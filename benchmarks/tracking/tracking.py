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

import hashlib
import json
import logging
import math
import os
import re
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from ...errors import UserError
from ...files import LockTimeoutError, locked
from ...metrics import MeanStd, mean_std
from ..engine.progress import Reporter, SilentReporter
from ..records.record import RunRecord, all_records, finished
from ..records.record_files import CellConfig

EXPERIMENT = "uadbench"

_SQLITE = re.compile(r"sqlite(?:\+\w+)?:///(?P<name>[^?]*)(?:\?(?P<query>.*))?", re.DOTALL)
_SQLITE_HEADER = b"SQLite format 3\0"
#: No network, no chatter; a value that the user has set stays.
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
#: A server that is down must cost seconds, not MLflow's minutes; once it has answered it may take its time.
_PROBE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
_WORK = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}

#: Limits that every MLflow server accepts, old ones too.
_PARAM_LENGTH, _TAG_LENGTH, _PARAMS_A_BATCH, _METRICS_A_BATCH = 500, 5000, 100, 500
_FORBIDDEN = re.compile(r"[^/\w.\- ]")

_HISTORY = ("train_loss", "val_loss", "learning_rate")
_KIND, _CELL, _RECIPE, _DATA, _SPLITS = (f"uadbench.{word}" for word in ("kind", "cell", "recipe", "data", "splits"))
_COMPLETE, _CHECKPOINT, _RESULT = (f"uadbench.{word}" for word in ("complete", "checkpoint", "result"))
#: What a person reads of a cell; its tags have the same names.
_SHOWN = ("row", "title", "method", "preset")
_PARENT_ID = "mlflow.parentRunId"


class Synced(NamedTuple):
    """How many finished cells MLflow was told of, and how many it knew already."""

    written: int
    known: int


class TrackingError(UserError):
    """MLflow is absent, unreachable or cannot be written; the run records are whole all the same."""


@dataclass(frozen=True)
class FoldResult:
    """What a table needs to know of one finished cell, read from MLflow or from its run record.

    Attributes:
        cell: id of the cell.
        recipe: id of the recipe.
        data: name of the data source.
        data_title: its name in tables.
        splits: name of the splits.
        fingerprint: hash of the prepared volumes and the splits.
        fold: index of the fold.
        folds: number of folds of the splits.
        started: when the cell was run, ISO 8601.
        cohorts: role to (name, title) of each data set that was there.
        metrics: the cell's numbers, e.g. "brats21/dice".
        row: name of the table row it was run for; "" where MLflow was told by an early version.
        title: its title.
        method: registry name.
        preset: name of the preset.
        changes: the `key=value` words on top of it.
        seed: the user's seed.
    """

    cell: str
    recipe: str
    data: str
    data_title: str
    splits: str
    fingerprint: str
    fold: int
    folds: int
    started: str
    cohorts: Mapping[str, tuple[str, str]]
    metrics: Mapping[str, float] = field(default_factory=dict)
    row: str = ""
    title: str = ""
    method: str = ""
    preset: str = ""
    changes: str = ""
    seed: int = 0

    @classmethod
    def of_record(cls, record: RunRecord) -> FoldResult:
        """Read a finished cell from its run record.

        Raises:
            RecordError: a file is damaged, or another version of uadbench wrote the record.
        """
        config = record.config
        words = {word: getattr(config, word) for word in _SHOWN}
        identity = _identity(config, record.environment)
        return cls(**identity, **words, metrics=record.metrics, changes=" ".join(config.changed), seed=config.seed)

    @property
    def family(self) -> tuple[str, str, str]:
        """Recipe, data and splits: the cells that are folds of one experiment."""
        return self.recipe, self.data, self.splits


def store_uri(results: Path) -> str:
    """Where MLflow keeps its runs: `MLFLOW_TRACKING_URI`, or else a SQLite file in the results folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or _sqlite_uri(results.resolve() / "mlflow.db")


def _sqlite_uri(database: Path) -> str:
    """The address of a SQLite file, as SQLAlchemy reads it: a question mark begins the options, %3F is one."""
    name = str(database)
    quoted = name.replace("%", "%25").replace("?", "%3F")
    # Under the short name MLflow makes a folder of the quoted path; it does not under the long one.
    return f"sqlite:///{name}" if quoted == name else f"sqlite+pysqlite:///{quoted}"


def sync_record(record: RunRecord, uri: str, *, with_checkpoint: bool = False) -> bool:
    """Tell MLflow of one cell; a cell that is not done, or that MLflow knows, is left alone.

    Args:
        record: the cell's run record.
        uri: the store, see `store_uri`.
        with_checkpoint: upload the best weights too.

    Returns:
        True where something was written.

    Raises:
        TrackingError: MLflow is absent or unreachable.
    """
    return _sync([record], uri, SilentReporter(), with_checkpoint).written > 0


def sync_all(runs: Path, uri: str, reporter: Reporter, *, with_checkpoint: bool = False) -> Synced:
    """Tell MLflow of every finished cell; repeating it doubles nothing.

    Args:
        runs: the folder of run records.
        uri: the store, see `store_uri`.
        reporter: where progress goes.
        with_checkpoint: upload the best weights too.

    Raises:
        TrackingError: MLflow is absent or unreachable.
    """
    return _sync(all_records(runs), uri, reporter, with_checkpoint)


def prepare_store(uri: str) -> None:
    """Make the store and its experiment where there is none yet, so that MLflow's own UI finds them.

    Raises:
        TrackingError: MLflow is absent or unreachable.
    """
    with _open(uri):
        pass


def fold_results(uri: str, *data: str) -> tuple[FoldResult, ...]:
    """Every complete cell of these data sources that MLflow knows; none where the SQLite file does not exist yet.

    Raises:
        TrackingError: MLflow is absent or unreachable.
    """
    database = _database(uri)
    if database is not None and not database.exists():
        return ()
    with _open(uri) as store:
        return tuple(result for name in data for result in store.results({_DATA: name}))


def named_by_run(uri: str, run_id: str) -> str | None:
    """What a run id of MLflow stands for: a cell's id, or "recipe/data/splits" of a parent; None where unknown.

    Raises:
        TrackingError: MLflow is absent or unreachable.
    """
    database = _database(uri)
    if database is not None and not database.exists():
        return None
    with _open(uri) as store:
        tags = store.tags(run_id)
    if tags.get(_KIND) == "parent":
        return "/".join(tags[word] for word in (_RECIPE, _DATA, _SPLITS))
    return tags.get(_CELL)


def _sync(records: Iterable[RunRecord], uri: str, reporter: Reporter, with_checkpoint: bool) -> Synced:
    done = finished(records)
    if not done:
        return Synced(0, 0)
    written = 0
    families: dict[tuple[str, str, str], str] = {}
    with _open(uri) as store, reporter.bar("tell MLflow", len(done)) as bar:
        for record in done:
            report = _Report.of(record)
            if report.family not in families:
                families[report.family] = store.parent(report)
            written += store.child(report, families[report.family], record, with_checkpoint)
            bar.advance()
        for family, parent in families.items():
            store.summarise(family, parent)
    return Synced(written, len(done) - written)


# ---------------------------------------------------------------------------------------------------------------------
# What MLflow is told of a cell


@dataclass(frozen=True)
class _Point:
    """A metric at one epoch."""

    key: str
    value: float
    step: int
    time: int


@dataclass(frozen=True)
class _Report:
    """A cell as MLflow shows it; two equal reports have equal digests."""

    cell: str
    family: tuple[str, str, str]
    title: str
    parent_title: str
    note: str
    params: dict[str, str]
    points: tuple[_Point, ...]
    tags: dict[str, str]
    texts: dict[str, str]
    files: tuple[Path, ...]
    start: int
    end: int

    @classmethod
    def of(cls, record: RunRecord) -> _Report:
        """Read all of it from a finished run record."""
        config, environment, metrics = record.config, record.environment, record.metrics
        start = _milliseconds(environment.get("started"), record)
        train = int(1000 * metrics.get("seconds_train", 0.0))
        end = start + train + int(1000 * metrics.get("seconds_score", 0.0))
        found = FoldResult.of_record(record)
        return cls(
            cell=found.cell,
            family=found.family,
            title=f"{config.title} · fold {found.fold}",
            parent_title=_parent_title(config),
            note=_note(config),
            params=_params(config),
            points=(*_history(record, start, train), *_final(record, end)),
            tags={**_tags(config, environment), **_origin(record), **_lesion_free(record)},
            texts={"preset.json": _preset_text(config)},
            files=tuple(path for path in (record.folder / "scores.csv", record.figure) if path.exists()),
            start=start,
            end=end,
        )

    @cached_property
    def digest(self) -> str:
        """Hash of everything that is logged, except the checkpoint, which is logged by choice."""
        files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in self.files}
        points = [[point.key, repr(point.value), point.step] for point in self.points]
        content = [self.title, self.params, points, self.tags, self.texts, files]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _identity(config: CellConfig, environment: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a FoldResult without its metrics."""
    words = ("cell", "recipe", "data", "data_title", "splits", "fingerprint", "fold", "folds")
    cohorts = {role: (cohort.name, cohort.title) for role, cohort in config.cohorts.items()}
    return {
        **{word: getattr(config, word) for word in words},
        "started": environment.get("started", ""),
        "cohorts": cohorts,
    }


def _parent_title(config: CellConfig) -> str:
    seed = [f"seed {config.seed}"] if config.seed else []
    return " · ".join([config.title, config.data_title, config.preset_title, *seed])


def _note(config: CellConfig) -> str:
    """The parent's description in MLflow, Markdown."""
    cohorts = ", ".join(cohort.title for cohort in config.cohorts.values())
    lines = [f"{config.title} on {config.data_title} ({cohorts}), preset `{config.preset}`."]
    if config.departures:
        lines += ["", "Departures from the paper:", *(f"* {departure}" for departure in config.departures)]
    return "\n".join(lines)


def _params(config: CellConfig) -> dict[str, str]:
    flat = {"method": config.method, "seed": config.seed, **_flatten(config.plan)}
    return {_FORBIDDEN.sub("_", key): str(value)[:_PARAM_LENGTH] for key, value in flat.items()}


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys: `{"train": {"epochs": 3}}` is `train.epochs = 3`."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _tags(config: CellConfig, environment: Mapping[str, str]) -> dict[str, str]:
    """Short names are for people who filter in MLflow's UI; by `uadbench.*` this module finds its runs again."""
    words = ("method", "row", "title", "fold", "data", "data_title", "splits", "preset", "seed")
    tags = {word: getattr(config, word) for word in words}
    tags |= {f"env.{_FORBIDDEN.sub('_', key)}": value for key, value in environment.items()}
    tags |= {"changed": " ".join(config.changed), "phantom": _phantom(config)}
    tags |= {_CELL: config.cell, _RECIPE: config.recipe, _DATA: config.data, _SPLITS: config.splits}
    tags |= {_RESULT: json.dumps(_identity(config, environment), sort_keys=True)}
    tags |= {"mlflow.source.name": "bench", "mlflow.source.git.commit": environment.get("commit", "")}
    return {key: str(value)[:_TAG_LENGTH] for key, value in tags.items() if value != ""}


def _origin(record: RunRecord) -> dict[str, str]:
    """Whose training these weights come from, where they were taken over."""
    origin = record.state.weights_from
    return {"weights_from": origin} if origin else {}


def _lesion_free(record: RunRecord) -> dict[str, str]:
    """The test scans that have no lesion in view, by name, where there are any."""
    names = [f"{score.cohort}: {score.subject}" for score in record.scores() if score.note]
    return {"lesion_free": "; ".join(names)[:_TAG_LENGTH]} if names else {}


def _phantom(config: CellConfig) -> str:
    """Whether the data sets are the embedded phantom: "yes", "no" or "partly"."""
    simulated = [cohort.is_phantom for cohort in config.cohorts.values()]
    if all(simulated):
        return "yes"
    return "partly" if any(simulated) else "no"


def _history(record: RunRecord, start: int, milliseconds: int) -> Iterator[_Point]:
    """Metrics by epoch; their times are spread evenly over the training, the record keeps none."""
    history = record.history()
    for count, epoch in enumerate(history, start=1):
        time = start + milliseconds * count // len(history)
        for key in _HISTORY:
            value = getattr(epoch, key)
            if value is not None:
                yield _Point(key, float(value), int(epoch.epoch), time)


def _final(record: RunRecord, end: int) -> Iterator[_Point]:
    """The cell's numbers and its thresholds; the validation loss of the best checkpoint gets a name of its own."""
    for key, value in record.metrics.items():
        yield _Point(_FORBIDDEN.sub("_", {"val_loss": "best_val_loss"}.get(key, key)), float(value), 0, end)
    for role, pair in record.thresholds.items():
        yield _Point(f"threshold/{role}/greedy", pair.greedy, 0, end)
        yield _Point(f"threshold/{role}/greedy_dice", pair.greedy_dice, 0, end)
        yield _Point(f"threshold/{role}/exact", pair.exact, 0, end)
        yield _Point(f"threshold/{role}/exact_dice", pair.exact_dice, 0, end)


def _preset_text(config: CellConfig) -> str:
    words = {"preset", "changed", "departures", "plan", "content", "fingerprint"}
    return json.dumps(config.model_dump(mode="json", include=words), indent=2, sort_keys=True) + "\n"


def _milliseconds(started: str | None, record: RunRecord) -> int:
    if started:
        return int(datetime.fromisoformat(started).timestamp() * 1000)
    return int((record.folder / "config.json").stat().st_mtime * 1000)


# ---------------------------------------------------------------------------------------------------------------------
# The store


@contextmanager
def _open(uri: str) -> Iterator[_Store]:
    """Reach the store and hold it for this process.

    Raises:
        TrackingError: MLflow is not installed, or the store cannot be reached, read or written.
    """
    client, errors = _client_and_errors()
    try:
        with _locked(uri):
            _check_database(uri)
            _create_database(client, uri)
            with _settings(_PROBE):
                store = _Store(client(tracking_uri=uri), uri)
            with _settings(_WORK):
                yield store
    except errors as error:
        address = without_password(uri)
        reason = shorten(error).replace(uri, address)
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


def _database(uri: str) -> Path | None:
    """The SQLite file of a store; None for a server, and for SQLite in memory."""
    found = _SQLITE.fullmatch(uri)
    if found is None:
        return None
    name, options = unquote(found["name"]), parse_qs(found["query"] or "")
    if name.startswith("file:") and "uri" in options:  # SQLite's own addresses, which it unquotes once more
        name = "" if "memory" in options.get("mode", ()) else unquote(urlsplit(name).path)
    return Path(name) if name not in ("", ":memory:") else None


def _check_database(uri: str) -> None:
    """Refuse at once what MLflow would try for minutes to open.

    Raises:
        TrackingError: there is no SQLite file, or SQLAlchemy understands another one by the address.
    """
    from sqlalchemy.engine import make_url

    database = _database(uri)
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
def _locked(uri: str) -> Iterator[None]:
    """Let one process at a time write a SQLite store: two that migrate a new file at once break each other."""
    database = _database(uri)
    if database is None:
        yield
        return
    database.parent.mkdir(parents=True, exist_ok=True)
    try:
        with locked(database.with_name(f"{database.name}.lock")):
            yield
    except LockTimeoutError as error:
        raise TrackingError(f"MLflow's file is held by another: {error}") from error


def _create_database(client: Any, uri: str) -> None:
    """Put a new SQLite store in place whole or not at all.

    MLflow makes its tables in dozens of migrations, and a file whose migration was killed half-way can never be opened
    again. So they run on a draft beside it, and a copy of the finished draft takes its place in one step.
    """
    database = _database(uri)
    if database is None or database.exists():
        return
    draft = database.with_name(f".{database.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        client(tracking_uri=_sqlite_uri(draft.resolve() / "draft.db"))
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


def shorten(error: Exception, length: int = 160) -> str:
    """The first line of an error's text, cut to a length."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line if len(line) <= length else f"{line[: length - 3]}..."


class _Store:
    """The experiment in an MLflow store."""

    def __init__(self, client: Any, uri: str) -> None:
        self._client = client
        self._experiment = self._find_experiment(uri)

    def parent(self, report: _Report) -> str:
        """The id of the parent run, made where there is none; of two that a race made the older stays."""
        tags = {_KIND: "parent", **_family_tags(report.family)}
        found = self._runs(tags)
        for other in found[1:]:
            self._client.delete_run(other.info.run_id)
        run = found[0] if found else self._create(report.parent_title, tags, report.start)
        words = ("method", "row", "title", "data", "data_title", "splits", "preset", "changed", "seed", "phantom")
        wanted = {word: report.tags[word] for word in words if word in report.tags}
        wanted |= {"mlflow.note.content": report.note, "mlflow.source.name": "bench"}
        known = run.data.tags
        self._log(
            run.info.run_id,
            params={key: value for key, value in report.params.items() if key not in run.data.params},
            tags={key: value for key, value in wanted.items() if key not in known},
        )
        return str(run.info.run_id)

    def child(self, report: _Report, parent: str, record: RunRecord, with_checkpoint: bool) -> bool:
        """Write the child run of a cell unless it is there and whole; returns whether anything was written."""
        found = self._runs({_KIND: "fold", _CELL: report.cell})
        whole = [run for run in found if run.data.tags.get(_COMPLETE) == report.digest]
        whole = whole or [run for run in found if _knows_more(run, report)]
        for run in found:
            if run not in whole[:1]:
                self._client.delete_run(run.info.run_id)
        run_id = whole[0].info.run_id if whole else self._write(report, parent)
        tags = whole[0].data.tags if whole else {_PARENT_ID: parent}
        if tags[_PARENT_ID] != parent:
            self._client.set_tag(run_id, _PARENT_ID, parent)
        wanted = with_checkpoint and record.best_checkpoint.exists() and _CHECKPOINT not in tags
        if wanted:
            self._client.log_artifact(run_id, str(record.best_checkpoint), "checkpoints")
            self._client.set_tag(run_id, _CHECKPOINT, "yes")
        return wanted or not whole

    def summarise(self, family: tuple[str, str, str], parent: str) -> None:
        """Bring the parent's means, standard deviations and number of folds up to date."""
        results = newest_folds(self.results(_family_tags(family)))
        summary: dict[str, float] = {"folds_done": float(len(results))}
        for key in sorted({key for result in results for key in result.metrics} - set(_HISTORY)):
            values = [result.metrics[key] for result in results if key in result.metrics]
            summary[f"{key}_mean"], std = over_folds(values)
            if len(values) > 1:
                summary[f"{key}_std"] = std
        run = self._client.get_run(parent)
        now = int(datetime.now(UTC).timestamp() * 1000)
        known = run.data.metrics
        # Compared as text, so that a NaN equals itself and is not logged again and again.
        changed = [_Point(key, value, 0, now) for key, value in summary.items() if repr(known.get(key)) != repr(value)]
        if changed or run.info.status != "FINISHED":
            self._log(parent, points=changed)
            end = max((_end(result) for result in results), default=run.info.start_time)
            self._client.set_terminated(parent, "FINISHED", end_time=end)

    def results(self, tags: Mapping[str, str]) -> Iterator[FoldResult]:
        """The complete cells with these tags."""
        for run in self._runs({_KIND: "fold", **tags}):
            if _COMPLETE in run.data.tags:
                identity = json.loads(run.data.tags[_RESULT])
                identity["cohorts"] = {role: tuple(pair) for role, pair in identity["cohorts"].items()}
                told = run.data.tags
                identity |= {word: told.get(word, "") for word in _SHOWN}
                identity |= {"changes": told.get("changed", ""), "seed": int(told.get("seed", 0))}
                yield FoldResult(**identity, metrics=dict(run.data.metrics))

    def tags(self, run_id: str) -> dict[str, str]:
        """The tags of a run; none where there is no such run."""
        from mlflow.exceptions import MlflowException

        try:
            return dict(self._client.get_run(run_id).data.tags)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return {}
            raise

    def _write(self, report: _Report, parent: str) -> str:
        run = self._create(report.title, {**report.tags, _KIND: "fold", _PARENT_ID: parent}, report.start)
        run_id = str(run.info.run_id)
        self._log(run_id, params=report.params, points=report.points)
        for name, text in report.texts.items():
            self._client.log_text(run_id, text, name)
        for path in report.files:
            self._client.log_artifact(run_id, str(path))
        self._client.set_terminated(run_id, "FINISHED", end_time=report.end)
        self._client.set_tag(run_id, _COMPLETE, report.digest)
        return run_id

    def _create(self, title: str, tags: Mapping[str, str], start: int) -> Any:
        return self._client.create_run(self._experiment, start_time=start, tags=dict(tags), run_name=title)

    def _log(
        self,
        run_id: str,
        *,
        params: Mapping[str, str] | None = None,
        points: Sequence[_Point] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log in batches that every server accepts."""
        from mlflow.entities import Metric, Param, RunTag

        metrics = [Metric(point.key, point.value, point.time, point.step) for point in points]
        for start in range(0, len(metrics), _METRICS_A_BATCH):
            self._client.log_batch(run_id, metrics=metrics[start : start + _METRICS_A_BATCH])
        words = [Param(key, value) for key, value in (params or {}).items()]
        for start in range(0, len(words), _PARAMS_A_BATCH):
            self._client.log_batch(run_id, params=words[start : start + _PARAMS_A_BATCH])
        if tags:
            self._client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def _runs(self, tags: Mapping[str, str]) -> list[Any]:
        """Every run with these tags, oldest first."""
        words = [f"tags.`{key}` = {_quoted(value)}" for key, value in tags.items()]
        query, order, found, token = " and ".join(words), ["attributes.start_time ASC"], [], None
        while True:
            page = self._client.search_runs([self._experiment], query, order_by=order, page_token=token)
            found += list(page)
            token = page.token
            if not token:
                return found

    def _find_experiment(self, uri: str) -> str:
        experiment = self._client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            database = _database(uri)
            place = None if database is None else (database.resolve().parent / "mlartifacts").as_uri()
            return str(self._client.create_experiment(EXPERIMENT, artifact_location=place))
        if experiment.lifecycle_stage == "deleted":
            number = experiment.experiment_id
            raise TrackingError(
                f"the experiment {EXPERIMENT} at {without_password(uri)} was deleted; bring it back "
                f"with `mlflow experiments restore -x {number}` or remove it with `mlflow gc`, then run `bench sync`"
            )
        return str(experiment.experiment_id)


def _knows_more(run: Any, report: _Report) -> bool:
    """Whether a whole run of this cell holds a number that the record has lost, such as its training curve."""
    told = {point.key for point in report.points}
    return _COMPLETE in run.data.tags and bool(set(run.data.metrics) - told)


def over_folds(values: Sequence[float]) -> MeanStd:
    """Mean and sample standard deviation; both NaN where a training went astray and left a number that is none."""
    return mean_std(values) if all(map(math.isfinite, values)) else MeanStd(math.nan, math.nan)


def _quoted(value: str) -> str:
    """A word of MLflow's query language, which knows both quotation marks and no escape."""
    return f'"{value}"' if "'" in value else f"'{value}'"


def newest_folds(results: Iterable[FoldResult]) -> list[FoldResult]:
    """One result a fold: the newest, where the data were changed and the fold was run again."""
    newest: dict[int, FoldResult] = {}
    for result in sorted(results, key=lambda result: (result.started, result.cell)):
        newest[result.fold] = result
    return [newest[fold] for fold in sorted(newest)]


def _end(result: FoldResult) -> int:
    """When a cell was finished, milliseconds: its start and the time it took."""
    seconds = result.metrics.get("seconds_train", 0.0) + result.metrics.get("seconds_score", 0.0)
    start = datetime.fromisoformat(result.started).timestamp() if result.started else 0.0
    return int(1000 * (start + seconds))


def _family_tags(family: tuple[str, str, str]) -> dict[str, str]:
    return dict(zip((_RECIPE, _DATA, _SPLITS), family, strict=True))
