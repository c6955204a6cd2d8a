"""A look into MLflow's file without MLflow says what MLflow says."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.tracking.database import database_of
from uadbench.benchmarks.tracking.glance import complete_cells
from uadbench.benchmarks.tracking.sync import fold_results, sync_all

Make = Callable[..., Any]


def test_it_sees_the_cells_that_mlflow_holds(
    fake_record: Make, entry_of: Make, tmp_path: Path, mlflow_uri: str
) -> None:
    runs = tmp_path / "runs"
    for name, fold in (("seen", 0), ("seen", 1), ("another", 0)):
        fake_record(runs, entry_of("ae", "AE"), data=name, fold=fold, fingerprint=name.ljust(64, "0"))
    sync_all(runs, mlflow_uri, SilentReporter())
    database = database_of(mlflow_uri)
    assert database is not None
    for names in (("seen",), ("seen", "another"), ("nobody",)):
        told = {result.cell for result in fold_results(mlflow_uri, *names)}
        assert complete_cells(database, names) == told
    assert len(complete_cells(database, ("seen",)) or ()) == 2


def test_it_does_not_count_what_is_deleted_or_incomplete(
    fake_record: Make, entry_of: Make, tmp_path: Path, mlflow_uri: str
) -> None:
    from mlflow import MlflowClient

    for fold in range(3):
        fake_record(tmp_path / "runs", entry_of("ae", "AE"), data="fewer", fold=fold, fingerprint="e" * 64)
    sync_all(tmp_path / "runs", mlflow_uri, SilentReporter())
    client, database = MlflowClient(tracking_uri=mlflow_uri), database_of(mlflow_uri)
    assert database is not None
    experiment = client.get_experiment_by_name("uadbench").experiment_id
    query = "tags.`uadbench.kind` = 'fold' and tags.`uadbench.data` = 'fewer'"
    first, second, third = client.search_runs([experiment], query)
    client.delete_run(first.info.run_id)
    client.delete_tag(second.info.run_id, "uadbench.complete")
    assert complete_cells(database, ["fewer"]) == {third.data.tags["uadbench.cell"]}
    assert complete_cells(database, ["fewer"]) == {result.cell for result in fold_results(mlflow_uri, "fewer")}


def test_where_it_cannot_see_nobody_knows(tmp_path: Path) -> None:
    assert complete_cells(tmp_path / "none.db", ["phantom"]) == frozenset()
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE somethings (word TEXT)")
    assert complete_cells(other, ["phantom"]) is None
    other.write_bytes(b"no database")
    assert complete_cells(other, ["phantom"]) is None


def test_it_takes_no_mlflow() -> None:
    probe = (
        "import sys; from uadbench.benchmarks.reports import tables; "
        "print([name for name in ('mlflow', 'sqlalchemy', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
