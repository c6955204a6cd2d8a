"""Artifacts stay with a results folder that is moved or copied."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from uadbench.benchmarks.plan.suite import SuiteRow
from uadbench.benchmarks.tracking.database import store_uri
from uadbench.benchmarks.tracking.relocation import bring_artifacts_along
from uadbench.benchmarks.tracking.sync import prepare_store, sync_record

pytest.importorskip("mlflow", reason="MLflow is not installed here")
Make = Callable[..., Any]


@pytest.fixture
def entry(entry_of: Make) -> SuiteRow:
    return entry_of("toy", "Toy")


def artifacts(results: Path, cell: str) -> set[str]:
    """Names of the artifacts that can really be read."""
    from mlflow import MlflowClient

    client = MlflowClient(store_uri(results))
    number = client.get_experiment_by_name("uadbench").experiment_id
    (run,) = client.search_runs([number], f"tags.`uadbench.cell` = '{cell}'")
    found = set()
    for item in client.list_artifacts(run.info.run_id):
        path = Path(client.download_artifacts(run.info.run_id, item.path))
        assert path.stat().st_size > 0
        assert run.info.artifact_uri.startswith((results / "mlartifacts").as_uri())
        found.add(item.path)
    return found


def test_a_moved_a_copied_and_a_twice_moved_folder(tmp_path: Path, entry: SuiteRow, fake_record: Make) -> None:
    first = tmp_path / "first ü%20"
    record = fake_record(first / "runs", entry, data="moved")
    cell = record.config.cell
    sync_record(record, store_uri(first))
    names = artifacts(first, cell)
    assert names == {"preset.json", "scores.csv", "reconstruction.png"}
    second = tmp_path / "deeper" / "second"
    second.parent.mkdir()
    first.rename(second)
    prepare_store(store_uri(second))
    assert artifacts(second, cell) == names
    third = tmp_path / "third?"
    shutil.copytree(second, third)
    prepare_store(store_uri(third))
    assert artifacts(third, cell) == names
    assert artifacts(second, cell) == names, "the original keeps its own"
    shutil.rmtree(second)
    more = fake_record(third / "runs", entry, 1, data="moved")
    sync_record(more, store_uri(third))
    assert artifacts(third, more.config.cell) == names
    assert not second.exists()


def database(path: Path, experiment: str, location: str, *uris: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE experiments (experiment_id INTEGER, name TEXT, artifact_location TEXT)")
        connection.execute("CREATE TABLE runs (experiment_id INTEGER, artifact_uri TEXT)")
        connection.execute("INSERT INTO experiments VALUES (1, ?, ?)", (experiment, location))
        connection.executemany("INSERT INTO runs VALUES (1, ?)", [(uri,) for uri in uris])
    return path


def locations(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT artifact_location FROM experiments UNION ALL SELECT artifact_uri FROM runs")
        return [value for (value,) in rows.fetchall()]


def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "here" / "mlartifacts").mkdir(parents=True)
    here = tmp_path / "here"
    for number, (experiment, location) in enumerate(
        [
            ("somebody's", "file:///gone/mlartifacts"),
            ("uadbench", "file:///gone/artifacts"),
            ("uadbench", "s3://bucket/mlartifacts"),
            ("uadbench", "mlflow-artifacts:/1"),
        ]
    ):
        path = database(here / f"{number}.db", experiment, location, f"{location}/a")
        bring_artifacts_along(path)
        assert locations(path) == [location, f"{location}/a"]
    bring_artifacts_along(None)
    bring_artifacts_along(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()


def test_runs_whose_artifacts_lie_elsewhere_stay_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "mlartifacts").mkdir()
    old = "file:///gone/mlartifacts"
    path = database(tmp_path / "mlflow.db", "uadbench", old, f"{old}/run", "s3://bucket/run", f"{old}2/run")
    bring_artifacts_along(path)
    new = (tmp_path / "mlartifacts").as_uri()
    assert locations(path) == [new, f"{new}/run", "s3://bucket/run", f"{old}2/run"]


def test_a_file_that_was_copied_alone_keeps_pointing_to_what_is_there(tmp_path: Path) -> None:
    old = tmp_path / "old" / "mlartifacts"
    old.mkdir(parents=True)
    path = database(tmp_path / "new" / "mlflow.db", "uadbench", old.as_uri(), f"{old.as_uri()}/run")
    bring_artifacts_along(path)
    assert locations(path) == [old.as_uri(), f"{old.as_uri()}/run"]
