"""When MLflow is told: of one cell, or of all that it does not know; and what it is asked."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ...files import sha256_of_json
from ..engine.progress import Reporter, SilentReporter
from ..records.cost import MLFLOW, add_seconds
from ..records.record import RunRecord, all_records, finished
from .connection import open_store
from .database import database_of
from .fold_result import FoldResult
from .live import close_left
from .report import Report
from .store import ParentFile, Store, Uploads
from .tags import CELL, DATA, KIND, RECIPE, SPLITS

#: Makes the table and the plots of a parent from the records of its folds.
ParentFiles = Callable[[Sequence[RunRecord]], Sequence[ParentFile]]
#: Raised where the table or the plots of a parent change: they are then made anew.
_FILES_VERSION = 2


class Synced(NamedTuple):
    """How many finished cells MLflow was told of, and how many it knew already."""

    written: int
    known: int


def sync_record(
    record: RunRecord,
    uri: str,
    *,
    with_checkpoint: bool = False,
    with_model: bool = False,
    parent_files: ParentFiles | None = None,
) -> bool:
    """Tell MLflow of one cell; a cell that is not done, or that MLflow knows, is left alone.

    Args:
        record: the cell's run record.
        uri: the store, see `store_uri`.
        with_checkpoint: upload the best weights too.
        with_model: log a model that `mlflow.pyfunc.load_model` reads, too.
        parent_files: makes table and plots of the parent; None leaves them out.

    Returns:
        True where something was written.

    Raises:
        TrackingError: MLflow is absent or unreachable.
    """
    uploads = Uploads(with_checkpoint, with_model)
    return _sync([record], uri, SilentReporter(), uploads, parent_files).written > 0


def sync_all(
    runs: Path,
    uri: str,
    reporter: Reporter,
    *,
    with_checkpoint: bool = False,
    with_model: bool = False,
    parent_files: ParentFiles | None = None,
) -> Synced:
    """Tell MLflow of every finished cell; repeating it doubles nothing.

    Runs that show a cell in training which nobody trains any more are ended.

    Args:
        runs: the folder of run records.
        uri: the store, see `store_uri`.
        reporter: where progress goes.
        with_checkpoint: upload the best weights too.
        with_model: log a model per cell, too.
        parent_files: makes table and plots of a parent; None leaves them out.

    Raises:
        TrackingError: MLflow is absent or unreachable.
    """
    records = all_records(runs)
    synced = _sync(records, uri, reporter, Uploads(with_checkpoint, with_model), parent_files)
    if records:
        with open_store(uri) as store:
            close_left(store, runs)
    return synced


def prepare_store(uri: str) -> str:
    """Make the store and its experiment where there is none yet, so that MLflow's own UI finds them.

    Returns:
        The experiment's id.

    Raises:
        TrackingError: MLflow is absent or unreachable.
    """
    with open_store(uri) as store:
        return store.experiment


def fold_results(uri: str, *data: str) -> tuple[FoldResult, ...]:
    """Every complete cell of these data sources that MLflow knows; none where the SQLite file does not exist yet.

    Raises:
        TrackingError: MLflow is absent or unreachable.
    """
    database = database_of(uri)
    if database is not None and not database.exists():
        return ()
    with open_store(uri) as store:
        return tuple(result for name in data for result in store.results({DATA: name}))


def named_by_run(uri: str, run_id: str) -> str | None:
    """What a run id of MLflow stands for: a cell's id, or "recipe/data/splits" of a parent; None where unknown.

    Raises:
        TrackingError: MLflow is absent or unreachable.
    """
    database = database_of(uri)
    if database is not None and not database.exists():
        return None
    with open_store(uri) as store:
        run = store.run(run_id)
    tags = {} if run is None else run.data.tags
    if tags.get(KIND) == "parent":
        return "/".join(tags[word] for word in (RECIPE, DATA, SPLITS))
    return None if tags.get(CELL) is None else str(tags[CELL])


def _sync(
    records: Iterable[RunRecord], uri: str, reporter: Reporter, uploads: Uploads, parent_files: ParentFiles | None
) -> Synced:
    done = finished(records)
    if not done:
        return Synced(0, 0)
    written: list[RunRecord] = []
    families: dict[tuple[str, str, str], str] = {}
    started = time.monotonic()
    with open_store(uri) as store, reporter.bar("tell MLflow", len(done)) as bar:
        for record in done:
            report = Report.of(record)
            if report.family not in families:
                families[report.family] = store.parent(report)
            if store.child(report, families[report.family], record, uploads):
                written.append(record)
            bar.advance()
        for family, parent in families.items():
            results = store.summarise(family, parent)
            if parent_files is not None:
                _show_files(store, parent, results, done[0].folder.parent, parent_files)
    for record in written:  # a share each, since opening and summing up are everybody's
        add_seconds(record, MLFLOW, (time.monotonic() - started) / len(written))
    return Synced(len(written), len(done) - len(written))


def _show_files(
    store: Store, parent: str, results: Sequence[FoldResult], runs: Path, parent_files: ParentFiles
) -> None:
    """Log the table and the plots of a parent where its folds are not those of which they were made."""
    told = {result.cell: dict(result.metrics) for result in results}
    digest = sha256_of_json([_FILES_VERSION, sorted((cell, sorted(m.items())) for cell, m in told.items())])
    if not store.needs_files(parent, digest):
        return
    found = [path for path in runs.iterdir() if path.name.rpartition("-")[2] in told]
    records = [record for record in map(RunRecord, sorted(found)) if record.done]
    files = parent_files(records) if records else ()
    with tempfile.TemporaryDirectory(prefix="uadbench-parent-") as place:
        store.show_files(parent, files, digest, Path(place))
