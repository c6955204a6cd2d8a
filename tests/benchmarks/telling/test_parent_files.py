"""Table and plots of a parent in MLflow."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pytest

from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.suite import SuiteRow
from uadbench.benchmarks.records.record import RunRecord
from uadbench.benchmarks.telling.parent_files import parent_files
from uadbench.benchmarks.tracking.sync import sync_all

Make = Callable[..., Any]


@pytest.fixture
def entry(entry_of: Make) -> SuiteRow:
    return entry_of("toy", "Toy <b>")


@pytest.fixture
def records(tmp_path: Path, entry: SuiteRow, fake_record: Make) -> list[RunRecord]:
    return [fake_record(tmp_path, entry, fold, data="files") for fold in range(3)]


def test_the_table_has_a_line_per_fold_and_one_over_folds(records: list[RunRecord]) -> None:
    files = {file.name: file.content for file in parent_files(records)}
    dice = [100 * record.metrics["phantom-tumours/dice"] for record in records]
    lines = list(csv.DictReader(io.StringIO(files["table.csv"].decode())))
    column = next(name for name in lines[0] if "tumours" in name and "DICE (%)" in name and "exact" not in name)
    assert [float(line[column]) for line in lines] == pytest.approx(dice)
    assert [line["fold"] for line in lines] == ["0", "1", "2"]
    assert f"{fmean(dice):.2f} ± {stdev(dice):.2f}" in files["table.md"].decode()
    page = files["table.html"].decode()
    assert "Toy &lt;b&gt;" in page and "<b>" not in page
    assert "Phantom results" in page


def test_plots_are_pictures_that_show_something(records: list[RunRecord]) -> None:
    matplotlib = pytest.importorskip("matplotlib.image")
    files = {file.name: file.content for file in parent_files(records)}
    assert {name for name in files if name.startswith("plots/")} == {
        "plots/training.png",
        "plots/dice_by_volume.png",
        "plots/l1_by_volume.png",
    }
    for name, content in files.items():
        if name.startswith("plots/"):
            picture = matplotlib.imread(io.BytesIO(content))
            assert picture.shape[0] > 200 and np.unique(picture[..., :3]).size > 20


def test_one_fold_and_a_method_without_training_have_a_table_too(
    tmp_path: Path, entry_of: Make, fake_record: Make
) -> None:
    record = fake_record(tmp_path, entry_of("plain", "Plain", trainable=False), 0, data="plain")
    files = {file.name: file.content.decode(errors="replace") for file in parent_files([record])}
    assert "plots/training.png" not in files
    assert "±" not in files["table.md"].splitlines()[-3]


def test_they_are_logged_once_and_again_when_a_fold_is_added(
    tmp_path: Path, mlflow_uri: str, entry: SuiteRow, fake_record: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    made: list[int] = []

    def counted(found: Any) -> Any:
        made.append(len(found))
        return parent_files(found)

    def sync() -> None:
        sync_all(tmp_path, mlflow_uri, SilentReporter(), parent_files=counted)

    for fold in range(2):
        fake_record(tmp_path, entry, fold, data="shown")
    sync()
    sync()
    assert made == [2]
    fake_record(tmp_path, entry, 2, data="shown")
    sync()
    assert made == [2, 3]
    client = MlflowClient(mlflow_uri)
    number = client.get_experiment_by_name("uadbench").experiment_id
    query = "tags.`uadbench.data` = 'shown' and tags.`uadbench.kind` = 'parent'"
    (parent,) = client.search_runs([number], query)
    names = {item.path for item in client.list_artifacts(parent.info.run_id)}
    assert names == {"table.html", "table.md", "table.csv", "plots"}
    path = client.download_artifacts(parent.info.run_id, "table.csv", str(tmp_path))
    assert len(Path(path).read_text().splitlines()) == 4
