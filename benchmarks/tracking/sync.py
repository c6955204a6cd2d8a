"""When MLflow is told: of one cell, or of all that it does not know; and what it is asked."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from ..engine.progress import Reporter, SilentReporter
from ..records.cost import MLFLOW, add_seconds
from ..records.record import RunRecord, all_records, finished
from .database import database_of
from .fold_result import FoldResult
from .report import Report
from .store import open_store
from .tags import CELL, DATA, KIND, RECIPE, SPLITS


class Synced(NamedTuple):
    """How many finished cells MLflow was told of, and how many it knew already."""

    written: int
    known: int


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
        tags = store.tags(run_id)
    if tags.get(KIND) == "parent":
        return "/".join(tags[word] for word in (RECIPE, DATA, SPLITS))
    return tags.get(CELL)


def _sync(records: Iterable[RunRecord], uri: str, reporter: Reporter, with_checkpoint: bool) -> Synced:
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
            if store.child(report, families[report.family], record, with_checkpoint):
                written.append(record)
            bar.advance()
        for family, parent in families.items():
            store.summarise(family, parent)
    for record in written:  # a share each, since opening and summing up are everybody's
        add_seconds(record, MLFLOW, (time.monotonic() - started) / len(written))
    return Synced(len(written), len(done) - len(written))
